#include "job/watchdog.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <thread>

#include "base/error.h"

namespace respaldo::job {

namespace {

// What the two say to each other, one byte each.
constexpr char kStart = 's', kStandBy = 'b', kGo = 'g';  // ours; after kStart milliseconds, as an int64
constexpr char kStandingBy = 'b', kLate = 'l';           // its

constexpr int kSocket = 3;  // in the process

[[noreturn]] void fail(const char* call) {
  throw Error(ErrorKind::io, fmt::format("the watchdog of the hooks: {}: {}", call, std::strerror(errno)));
}

// Above what the process puts its own on.
os::UniqueFd raised(int fd, const char* call) {
  if (fd < 0) fail(call);
  const os::UniqueFd low(fd);
  os::UniqueFd high(::fcntl(low.get(), F_DUPFD_CLOEXEC, kSocket + 1));
  if (!high) fail("fcntl");
  return high;
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> result;
  for (const std::string& word : words) result.push_back(const_cast<char*>(word.c_str()));
  result.push_back(nullptr);
  return result;
}

// The process. It comes out of a program with threads: nothing here may allocate, lock or throw.
class Child {
 public:
  Child(char** argv, char** environment, std::chrono::seconds limit, int socket, int null, int said)
      : argv_(argv), environment_(environment), limit_(limit), socket_(socket), null_(null), said_(said) {}

  [[noreturn]] void run() noexcept {
    ::setsid();
    ::prctl(PR_SET_NAME, "thaw-watchdog");  // `killall respaldo` is not for it
    for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_IGN);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    // Nothing of ours is held open: no lock, no device, no snapshot.
    if (::dup3(socket_, kSocket, O_CLOEXEC) < 0) ::_exit(1);
    ::dup2(null_, 0);
    ::dup2(said_, 1);
    ::dup2(said_, 2);
    if (::syscall(SYS_close_range, kSocket + 1, ~0U, 0) != 0)
      for (int fd = kSocket + 1; fd < 65536; ++fd) ::close(fd);
    watch();
    hook();
  }

 private:
  // Returns when it is time for the hook.
  void watch() noexcept {
    std::int64_t until = 0;  // 0: no time has been set
    for (;;) {
      pollfd ready{kSocket, POLLIN, 0};
      const std::int64_t left = std::clamp<std::int64_t>(until - now(), 0, 60'000);
      const int events = ::poll(&ready, 1, until == 0 ? -1 : static_cast<int>(left));
      if (events == 0 && until != 0 && now() >= until) {
        ::send(kSocket, &kLate, 1, MSG_NOSIGNAL);
        return;
      }
      if (events <= 0) continue;
      char word = 0;
      std::int64_t time = 0;
      if (!take(&word, 1)) return;
      if (word == kGo) ::_exit(0);
      if (word == kStart && !take(&time, sizeof time)) return;
      until = word == kStart ? now() + time : 0;
      if (word == kStandBy) ::send(kSocket, &kStandingBy, 1, MSG_NOSIGNAL);
    }
  }

  // Dispositions are inherited. SIGTERM stays ignored: a service manager ends with it what a dead service left.
  [[noreturn]] void hook() noexcept {
    for (int signal = 1; signal < NSIG; ++signal)
      if (signal != SIGTERM) ::signal(signal, SIG_DFL);
    ::alarm(static_cast<unsigned>(limit_.count()));
    ::execvpe(argv_[0], argv_, environment_);
    const char* why = ::strerrordesc_np(errno);
    if (why != nullptr && ::write(2, why, std::strlen(why)) < 0) ::_exit(1);
    ::_exit(127);
  }

  // False when the other end is gone.
  static bool take(void* into, std::size_t size) noexcept {
    ssize_t n = 0;
    do {
      n = ::recv(kSocket, into, size, MSG_WAITALL);
    } while (n < 0 && errno == EINTR);
    return n == static_cast<ssize_t>(size);
  }
  // Milliseconds.
  static std::int64_t now() noexcept {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
  }

  char** const argv_;
  char** const environment_;
  const std::chrono::seconds limit_;
  const int socket_, null_, said_;
};

}  // namespace

Watchdog::Watchdog(const std::vector<std::string>& hook, const std::vector<std::string>& environment,
                   std::chrono::seconds limit)
    : limit_(limit) {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) fail("socketpair");
  os::UniqueFd second(sockets[1]);
  socket_ = raised(sockets[0], "socketpair");
  const os::UniqueFd its = raised(second.release(), "socketpair");
  const os::UniqueFd null = raised(::open("/dev/null", O_RDONLY | O_CLOEXEC), "/dev/null");
  said_ = raised(::memfd_create("respaldo hook", MFD_CLOEXEC), "memfd_create");
  std::vector<char*> argv = pointers(hook), all = pointers(environment);
  Child child(argv.data(), all.data(), limit, its.get(), null.get(), said_.get());

  sigset_t every, before;
  ::sigfillset(&every);
  ::pthread_sigmask(SIG_BLOCK, &every, &before);
  pid_ = ::fork();
  if (pid_ == 0) child.run();
  const int number = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = number;
  if (pid_ < 0) fail("fork");
}

Watchdog::~Watchdog() {
  ::send(socket_.get(), &kGo, 1, MSG_NOSIGNAL);
  // Where it runs the hook and nobody asked, that goes on; what has ended is not left a zombie.
  char word = 0;
  pollfd ready{socket_.get(), POLLIN, 0};
  if (pid_ > 0 && ::poll(&ready, 1, 5000) > 0 && ::recv(socket_.get(), &word, 1, 0) <= 0)
    ::waitpid(pid_, nullptr, 0);
}

void Watchdog::start(std::chrono::seconds time) {
  char message[1 + sizeof(std::int64_t)] = {kStart};
  const std::int64_t milliseconds = std::chrono::milliseconds(time).count();
  std::memcpy(message + 1, &milliseconds, sizeof milliseconds);
  ::send(socket_.get(), message, sizeof message, MSG_NOSIGNAL);
}

bool Watchdog::stand_by() {
  ::send(socket_.get(), &kStandBy, 1, MSG_NOSIGNAL);
  // One that somebody killed, or that does not answer, thaws nothing: the caller does.
  char word = 0;
  pollfd ready{socket_.get(), POLLIN, 0};
  if (::poll(&ready, 1, 10'000) <= 0) return true;
  return ::recv(socket_.get(), &word, 1, 0) != 1 || word != kLate;
}

os::CommandResult Watchdog::result() {
  const auto until = std::chrono::steady_clock::now() + limit_;
  siginfo_t info{};
  for (;;) {
    info.si_pid = 0;
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    if (info.si_pid == pid_ || std::chrono::steady_clock::now() > until) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const bool ended = info.si_pid == pid_;
  if (!ended || (info.si_code == CLD_KILLED && info.si_status == SIGALRM)) {
    ::kill(-pid_, SIGKILL);
    if (ended) ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
    throw os::CommandTimeout(ErrorKind::io,
                             fmt::format("it did not finish within {} s and was killed", limit_.count()));
  }
  os::CommandResult result;
  result.exit_code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
  constexpr std::size_t kMost = 1U << 16;  // the end of it is what is told
  struct stat file {};
  ::fstat(said_.get(), &file);
  result.err.resize(std::min(kMost, static_cast<std::size_t>(file.st_size)));
  const ssize_t n = ::pread(said_.get(), result.err.data(), result.err.size(),
                            file.st_size - static_cast<off_t>(result.err.size()));
  result.err.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  return result;
}

}  // namespace respaldo::job
