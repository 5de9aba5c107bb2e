#include "store/sftp_session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/endian.h"
#include "base/printable.h"
#include "os/child_process.h"
#include "os/process.h"

namespace respaldo::store::sftp {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kComplaintKept = 4096, kReadSize = 256U << 10;
constexpr int kPipeSize = 1 << 20;
constexpr auto kLastWords = 300ms;                  // for standard error, after standard output has ended
constexpr auto kFarewell = 1000ms;                  // for the program to end by itself
constexpr auto kShortFarewell = 20ms;               // for one that surely does
constexpr auto kStoppedStall = 10s;                 // after a Ctrl-C
constexpr std::uint64_t kLargestRead = 255U << 10;  // what OpenSSH takes; no server is asked for more
constexpr std::uint32_t kSmallestLimit = 1024, kLimitsNumber = 0;

// What ssh complains of and no second attempt changes.
struct Verdict {
  std::string_view complaint;
  ErrorKind kind;
  std::string_view hint;
  bool lasts = false;  // though the host was reached before
};
constexpr Verdict kVerdicts[] = {
    {"REMOTE HOST IDENTIFICATION HAS CHANGED", ErrorKind::refused,
     "somebody may be between you and the host, or it was installed anew: ask its administrator before you "
     "change "
     "known_hosts",
     true},
    {"Host key verification failed", ErrorKind::refused,
     "connect once with `ssh` as the same user, compare the key's fingerprint, and accept it", true},
    {"Permission denied", ErrorKind::refused,
     "give the host a key that needs no password (`ssh-copy-id`), or start an agent that holds it", true},
    {"Too many authentication failures", ErrorKind::refused,
     "name one key with IdentityFile in ~/.ssh/config"},
    {"subsystem request failed", ErrorKind::unsupported,
     "switch on the sftp subsystem in the host's sshd_config"},
    {"Could not resolve hostname", ErrorKind::refused, "correct the host's name"},
    {"Bad configuration option", ErrorKind::refused, "correct the ssh configuration"},
    {"Bad owner or permissions", ErrorKind::refused, "correct the ssh configuration"},
    {"no such identity", ErrorKind::refused, "correct the ssh configuration"},
};

// What holds, or may hold, our secrets is not for ssh and what it starts on its way. Amazon's key and secret
// go together: with half of them its tools would not look into a profile.
bool is_ours(std::string_view name) {
  if (name.starts_with("RESPALDO_") || name.starts_with("RESTIC_")) return true;
  if (!name.starts_with("AWS_")) return false;
  for (const std::string_view end : {"_ACCESS_KEY_ID", "_SECRET_ACCESS_KEY", "_SESSION_TOKEN"})
    if (name.ends_with(end)) return true;
  return false;
}

std::string last_lines(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  std::string shown;
  constexpr std::size_t kMost = 400;
  if (text.size() > kMost) text = text.substr(text.size() - kMost);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of("\r\n", at), text.size());
    if (end > at) shown += (shown.empty() ? "" : "; ") + printable(text.substr(at, end - at));
    at = end + 1;
  }
  return shown;
}

}  // namespace

struct Session::Impl {
  SessionOptions options;
  std::unique_ptr<os::ChildProcess> child;
  Abilities abilities;
  Bounds bounds;
  std::future<Answer> limits;  // not valid: not asked for, or in `bounds`
  std::once_flag bounds_known;
  os::UniqueFd wake;
  std::atomic<bool> farewell{false}, cancelled{false};
  std::atomic<Clock::rep> progress{0};  // when a byte went either way
  std::mutex writing;        // the order of packets, and these two; taken before `mutex`
  std::uint32_t opened = 0;  // requests to open something: the next handle, when none failed
  bool closes = false;       // something was closed
  std::mutex mutex;          // of what follows
  std::condition_variable changed;
  struct Awaited {
    std::promise<Answer> answer;
    Clock::time_point since = Clock::now();
  };
  std::unordered_map<std::uint32_t, Awaited> awaited;
  Pace pace;
  std::uint32_t next_number = 1;
  bool greeted = false;  // `abilities` and `limits` stand
  std::optional<Error> death;
  // Of the reader alone.
  Framer framer;
  std::string complaint;
  std::thread reader;

  void moved() { progress = Clock::now().time_since_epoch().count(); }
  Clock::duration stall() const {
    const bool stopped = options.stop.stop_requested();
    return stopped ? std::min<Clock::duration>(options.stall, kStoppedStall) : options.stall;
  }
  bool stalled() const { return Clock::now() - Clock::time_point(Clock::duration(progress)) > stall(); }

  void start() {
    try {
      child = std::make_unique<os::ChildProcess>(
          options.command, os::environment_with({}, is_ours),
          options.may_ask ? os::ChildProcess::Terminal::lent : os::ChildProcess::Terminal::left);
    } catch (Error& error) {
      if (error.error_number() == EAGAIN || error.error_number() == ENOMEM)
        throw ConnectionLost(error.message(), error.hint());
      // "Not found" would be an object that is missing.
      if (error.kind() != ErrorKind::not_found) throw;
      throw Error(ErrorKind::unsupported, fmt::format("{} is not installed", printable(options.command[0])),
                  "install OpenSSH's client");
    }
    for (const os::UniqueFd* fd : {&child->in, &child->out}) ::fcntl(fd->get(), F_SETPIPE_SZ, kPipeSize);
    for (const os::UniqueFd* fd : {&child->out, &child->err}) ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
    wake = os::UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake) throw Error(ErrorKind::io, fmt::format("eventfd: {}", std::strerror(errno)));
    moved();
    const std::string init = Request::init();
    os::write_quietly(child->in.get(), init);  // a program that has gone is seen by who reads
  }

  // Waits for bytes of the program and takes them. False when its output has ended.
  bool take(int timeout) {
    pollfd fds[3] = {{child->out.get(), POLLIN, 0}, {child->err.get(), POLLIN, 0}, {wake.get(), POLLIN, 0}};
    ::poll(fds, 3, timeout);
    if (fds[1].revents != 0) take_complaint();
    if (fds[2].revents != 0) {
      std::uint64_t ignored = 0;
      static_cast<void>(!::read(wake.get(), &ignored, sizeof ignored));
    }
    if (fds[0].revents == 0) return true;
    static thread_local Bytes buffer(kReadSize);
    const ssize_t n = ::read(child->out.get(), buffer.data(), buffer.size());
    if (n < 0) return errno == EINTR || errno == EAGAIN;
    if (n == 0) return false;
    moved();
    framer.feed(buffer.view(0, static_cast<std::size_t>(n)));
    return true;
  }
  void take_complaint() {
    char buffer[1024];
    const ssize_t n = ::read(child->err.get(), buffer, sizeof buffer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n <= 0) {
      child->err.reset();
      return;
    }
    complaint.append(buffer, static_cast<std::size_t>(n));
    if (complaint.size() > kComplaintKept) complaint.erase(0, complaint.size() - kComplaintKept);
  }
  // The output has ended: how, in the program's words and ours.
  std::string last_words() {
    const auto until = Clock::now() + kLastWords;
    for (auto left = kLastWords; child->err && left.count() > 0;
         left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now())) {
      pollfd fd{child->err.get(), POLLIN, 0};
      if (::poll(&fd, 1, static_cast<int>(left.count())) > 0) take_complaint();
    }
    if (const std::string said = last_lines(complaint); !said.empty()) return said;
    const auto status = child->wait(kLastWords);
    if (!status) return fmt::format("{} closed its output", options.command[0]);
    return WIFSIGNALED(*status)
               ? fmt::format("{} was ended by signal {}", options.command[0], WTERMSIG(*status))
               : fmt::format("{} ended with exit code {}", options.command[0], WEXITSTATUS(*status));
  }

  // ---- connecting ----

  void connect() {
    // Whoever is stopped already may still tidy up.
    const bool may_cancel = !options.stop.stop_requested();
    for (;;) {
      if (!take(100)) throw_no_connection();
      if (cancelled || (may_cancel && options.stop.stop_requested())) throw Cancelled();
      if (farewell) throw ConnectionLost("nobody needs it any more");
      if (!options.may_ask && stalled())
        throw ConnectionLost(fmt::format("{} did not answer within {} s", options.place,
                                         std::chrono::duration_cast<std::chrono::seconds>(stall()).count()));
      if (const auto packet = greeting()) {
        negotiate(parse_version(*packet));
        return;
      }
    }
  }
  std::optional<Bytes> greeting() {
    try {
      return framer.next();
    } catch (const Error&) {
      throw Error(
          ErrorKind::unsupported,
          fmt::format("{} does not speak SFTP: it says \"{}\"", options.place,
                      printable(framer.unread().substr(0, 60))),
          "when this is the text of a login script there: it must print nothing unless a terminal is there");
    }
  }
  [[noreturn]] void throw_no_connection() {
    const std::string said = last_words();
    child->take_terminal_back();
    const auto status = child->wait(kLastWords);
    if (options.may_ask && status && WIFSIGNALED(*status) && WTERMSIG(*status) == SIGINT) throw Cancelled();
    const std::string message = fmt::format("no connection to {}: {}", options.place, said);
    if (complaint.find("Temporary failure in name resolution") == std::string::npos)
      for (const Verdict& verdict : kVerdicts)
        if (complaint.find(verdict.complaint) != std::string::npos) {
          if (options.reached != nullptr && *options.reached && !verdict.lasts) throw ConnectionLost(message, std::string(verdict.hint));
          throw Error(verdict.kind, message, std::string(verdict.hint));
        }
    throw ConnectionLost(message);
  }

  void negotiate(const std::map<std::string, std::string>& extensions) {
    const auto has = [&](const char* name, std::string_view version) {
      const auto found = extensions.find(name);
      return found != extensions.end() && found->second == version;
    };
    abilities.flush = has("fsync@openssh.com", "1");
    abilities.posix_rename = has("posix-rename@openssh.com", "1");
    abilities.free_space = has("statvfs@openssh.com", "2");
    if (options.reached != nullptr) *options.reached = true;
    const bool tells = has("limits@openssh.com", "1");
    abilities.in_order = tells;
    {
      std::lock_guard lock(mutex);
      // Nobody waits for it before he needs it.
      if (tells) limits = awaited[kLimitsNumber].answer.get_future();
      greeted = true;
    }
    changed.notify_all();
    if (!tells) return;
    std::lock_guard lock(writing);
    write_packet(Request::extended("limits@openssh.com").packet(kLimitsNumber));
  }
  void await_greeting() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return greeted || death; });
    if (!greeted) throw_death();
  }
  void learn_bounds() {
    try {
      await_greeting();
      if (!limits.valid()) return;
      const Answer answer = limits.get();
      if (answer.type != PacketType::extended_reply) return;
      const Limits told = parse_limits(answer);
      const auto bounded = [](std::uint64_t limit) {
        return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(limit, kSmallestLimit, kLargestRead));
      };
      if (told.read != 0) bounds.read = bounded(told.read);
      if (told.write != 0) bounds.write = bounded(told.write);
      bounds.handles = told.handles;
    } catch (const std::exception&) {
      // What is asked for next tells why.
    }
  }

  // ---- connected ----

  void read_all() {
    try {
      if (options.ahead) connect();
    } catch (const Cancelled&) {
      cancelled = true;
      die(lost("interrupted"));
      return;
    } catch (const Error& error) {
      die(error);
      return;
    } catch (const std::exception& error) {
      die(lost(error.what()));
      return;
    }
    read_answers();
  }
  void read_answers() {
    Clock::time_point until;
    try {
      for (bool open = true; open;) {
        // Some may have come with the hello.
        while (auto packet = framer.next()) deliver(parse_answer(std::move(*packet)));
        open = take(farewell ? 5 : 1000);
        if (cancelled) {
          die(lost("interrupted"));
          return;
        }
        while (auto packet = framer.next()) deliver(parse_answer(std::move(*packet)));
        if (farewell) {
          const auto now = Clock::now();
          if (until == Clock::time_point()) until = now + farewell_time();
          if (open && now < until) continue;
          const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
              std::max(until - now, Clock::duration()));
          if (!child->wait(left) && options.ends_by_itself) child->leave_to_end();
          return;
        }
        if (is_waiting() && stalled()) {
          const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(stall()).count();
          die(lost(fmt::format("no answer for {} s", seconds)));
          return;
        }
      }
      die(lost(last_words()));
    } catch (const std::exception& error) {
      die(lost(error.what()));
    }
  }
  // From a server that is further away no farewell comes in that time.
  std::chrono::milliseconds farewell_time() const {
    if (!options.ends_by_itself) return kFarewell;
    return pace.least_latency() > kShortFarewell ? 0ms : kShortFarewell;
  }
  bool is_waiting() {
    std::lock_guard lock(mutex);
    return !awaited.empty();
  }
  void deliver(Answer answer) {
    std::unique_lock lock(mutex);
    const auto found = awaited.find(answer.number);
    if (found == awaited.end())
      throw Error(ErrorKind::corrupt, "the SFTP server answered what it was not asked");
    std::promise<Answer> promise = std::move(found->second.answer);
    answer.latency = Clock::now() - found->second.since;
    awaited.erase(found);
    lock.unlock();
    pace.answered(answer.latency);
    promise.set_value(std::move(answer));
  }
  void die(const Error& why) {
    child->kill(SIGKILL);  // whoever writes to it is woken by that, too
    std::unordered_map<std::uint32_t, Awaited> left;
    {
      std::lock_guard lock(mutex);
      death = why;
      left.swap(awaited);
    }
    changed.notify_all();
    // One for each: whoever catches it adds context.
    for (auto& [number, one] : left)
      one.answer.set_exception(cancelled ? std::make_exception_ptr(Cancelled()) : std::make_exception_ptr(why));
  }
  [[noreturn]] void throw_death() const {
    if (cancelled) throw Cancelled();
    throw Error(*death);
  }
  void poke() {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(wake.get(), &one, sizeof one));
  }
  ConnectionLost lost(std::string_view cause) const {
    return ConnectionLost(fmt::format("the connection to {} is lost: {}", options.place, cause));
  }

  // A number, and the answer to it.
  std::pair<std::uint32_t, std::future<Answer>> await() {
    std::lock_guard lock(mutex);
    if (cancelled) throw Cancelled();
    if (death) throw_death();
    // The stall is counted from the first that waits.
    if (awaited.empty()) moved();
    std::uint32_t number = 0;
    do number = next_number++;
    while (number == kLimitsNumber || awaited.contains(number));
    return {number, awaited[number].answer.get_future()};
  }
  // These with `writing`.
  void write(Request& request, std::uint32_t number) {
    if (request.type() == PacketType::open || request.type() == PacketType::opendir) ++opened;
    if (request.type() == PacketType::close) closes = true;
    write_packet(request.packet(number));
  }
  std::string next_handle() {
    {
      std::lock_guard lock(mutex);
      if (closes || (greeted && !abilities.in_order)) return {};
    }
    Be32 handle;
    handle.set(opened);
    return {reinterpret_cast<const char*>(handle.bytes), sizeof handle.bytes};
  }
  void write_packet(std::string_view packet) {
    while (!packet.empty()) {
      const ssize_t n = os::write_quietly(child->in.get(), packet);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return;  // it has gone; the reader tells everybody why
      moved();
      packet.remove_prefix(static_cast<std::size_t>(n));
    }
  }
};

Session::Session(SessionOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
  impl_->start();
  if (!impl_->options.ahead) {
    impl_->connect();
    impl_->child->take_terminal_back();
  }
  try {
    impl_->reader = std::thread([this] { impl_->read_all(); });
  } catch (const std::system_error& error) {
    throw ConnectionLost(
        fmt::format("no thread for the connection to {}: {}", impl_->options.place, error.what()),
        "the machine has no room for another one: see `free` and `ulimit -u`");
  }
}

Session::~Session() {
  if (!impl_->reader.joinable()) return;
  bid_farewell();
  impl_->reader.join();
}

void Session::bid_farewell() {
  if (impl_->farewell) return;
  {
    std::lock_guard lock(impl_->writing);
    impl_->child->in.reset();  // ssh ends at the end of its input
  }
  impl_->farewell = true;
  impl_->poke();
}

void Session::cancel() {
  impl_->cancelled = true;
  impl_->poke();
}

const Abilities& Session::abilities() const {
  impl_->await_greeting();
  return impl_->abilities;
}

const Bounds& Session::bounds() const {
  std::call_once(impl_->bounds_known, [this] { impl_->learn_bounds(); });
  return impl_->bounds;
}

Pace& Session::pace() { return impl_->pace; }

bool Session::alive() const {
  std::lock_guard lock(impl_->mutex);
  return !impl_->death;
}

std::future<Answer> Session::send(Request request) {
  auto [number, answer] = impl_->await();
  std::lock_guard lock(impl_->writing);
  impl_->write(request, number);
  return std::move(answer);
}

Opening Session::open(Request request, const std::function<std::vector<Request>(const std::string& handle)>& next) {
  Opening opening;
  std::lock_guard lock(impl_->writing);
  opening.expected = impl_->next_handle();
  const auto write = [&](Request& one) {
    auto [number, answer] = impl_->await();
    impl_->write(one, number);
    return std::move(answer);
  };
  opening.answer = write(request);
  if (opening.expected.empty()) return opening;
  for (Request& one : next(opening.expected)) opening.next.push_back(write(one));
  return opening;
}

bool Session::was_expected(const std::string& handle) const {
  Be32 number;
  if (handle.size() != sizeof number.bytes) return false;
  std::memcpy(number.bytes, handle.data(), sizeof number.bytes);
  std::lock_guard lock(impl_->writing);
  return number.get() < impl_->opened;
}

}  // namespace respaldo::store::sftp
