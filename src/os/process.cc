#include "os/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "os/file.h"

extern char** environ;

namespace respaldo::os {

namespace {

// Both ends lie above descriptor 2, where the program's own will be put, even if ours are closed.
struct Pipe {
  UniqueFd read, write;
  Pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0)
      throw Error(ErrorKind::io, fmt::format("pipe: {}", std::strerror(errno)));
    read = raised(UniqueFd(fds[0]));
    write = raised(UniqueFd(fds[1]));
  }
  static UniqueFd raised(UniqueFd fd) {
    if (fd.get() > 2) return fd;
    UniqueFd high(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
    if (!high) throw Error(ErrorKind::io, fmt::format("fcntl: {}", std::strerror(errno)));
    return high;
  }
};

// Reads what is there; closes fd at the end of it.
void take(UniqueFd& fd, std::string& into, std::size_t limit) {
  char buffer[65536];
  const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) {
    fd.reset();
    return;
  }
  const std::size_t room = into.size() < limit ? limit - into.size() : 0;
  into.append(buffer, std::min(room, static_cast<std::size_t>(n)));
}

// write(2) without the SIGPIPE of a reader that has gone, whatever the process does with that signal.
ssize_t write_quietly(int fd, std::string_view bytes) {
  sigset_t pipe, before;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &before);
  const ssize_t n = ::write(fd, bytes.data(), bytes.size());
  const int number = errno;
  if (n < 0 && number == EPIPE) {
    const timespec now{};
    ::sigtimedwait(&pipe, nullptr, &now);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = number;
  return n;
}

constexpr std::chrono::seconds kPatience{3};  // for what was killed to end

// The status of a program that has ended or will soon. Absent when the kernel does not let it go: it waits
// for a device that does not answer, and takes no signal before that does. It is left behind then.
std::optional<int> status_of(pid_t pid) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) != 0) return status;
    if (std::chrono::steady_clock::now() > until) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// The next bytes of input into the program; closes fd after the last, or when nobody reads them.
void give(UniqueFd& fd, std::string_view input, std::size_t& sent) {
  const ssize_t n = write_quietly(fd.get(), input.substr(sent));
  if (n > 0) sent += static_cast<std::size_t>(n);
  if ((n < 0 && errno != EAGAIN && errno != EINTR) || sent == input.size()) fd.reset();
}

}  // namespace

std::vector<std::string> environment_with(std::vector<std::string> own) {
  const std::size_t count = own.size();
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string_view entry(*e);
    const std::string_view name = entry.substr(0, entry.find('=') + 1);
    const bool given = std::any_of(own.begin(), own.begin() + static_cast<std::ptrdiff_t>(count),
                                   [&](const std::string& one) { return one.starts_with(name); });
    if (name != "LC_ALL=" && !given) own.emplace_back(entry);
  }
  own.emplace_back("LC_ALL=C");
  return own;
}

CommandResult run_command(const std::vector<std::string>& argv, const CommandOptions& options,
                          std::stop_token stop) {
  Pipe in, out, err;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.read.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, out.write.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, err.write.get(), 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigfillset(&defaults);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

  const std::vector<std::string> environment = environment_with(options.environment);
  std::vector<char*> args, env;
  for (const auto& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
  for (const auto& e : environment) env.push_back(const_cast<char*>(e.c_str()));
  args.push_back(nullptr);
  env.push_back(nullptr);

  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, args[0], &actions, &attributes, args.data(), env.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) {
    Error error = system_error(failed, "cannot run", argv[0]);
    if (error.kind() == ErrorKind::not_found) error.set_hint("install it, or correct PATH");
    if (failed == EAGAIN || failed == ENOMEM)
      error.set_hint("the machine has no room for another process: see `free` and `ulimit -u`");
    throw error;
  }
  in.read.reset();
  out.write.reset();
  err.write.reset();
  for (const UniqueFd* fd : {&in.write, &out.read, &err.read}) ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
  if (options.input.empty()) in.write.reset();
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));

  CommandResult result;
  std::size_t sent = 0;
  bool ended = false, late = false, stopped = false;
  std::optional<std::chrono::steady_clock::time_point> interrupted;
  const auto started = std::chrono::steady_clock::now();
  for (;;) {
    pollfd fds[4] = {{out.read.get(), POLLIN, 0},
                     {err.read.get(), POLLIN, 0},
                     {in.write.get(), POLLOUT, 0},
                     {ended ? -1 : process.get(), POLLIN, 0}};
    const int ready = ::poll(fds, 4, ended ? 0 : 100);
    if (ended && ready == 0) break;  // whoever still holds the pipes is not who we ran
    if (out.read && fds[0].revents != 0) take(out.read, result.out, options.output_limit);
    if (err.read && fds[1].revents != 0) take(err.read, result.err, options.output_limit);
    if (in.write && fds[2].revents != 0) give(in.write, options.input, sent);
    // Without pidfd_open (an old container runtime) we ask. The status stays for later.
    siginfo_t info{};
    if (fds[3].revents != 0 ||
        (!process && ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid))
      ended = true;
    if (ended && !out.read && !err.read) break;
    if (ended) in.write.reset();
    const auto now = std::chrono::steady_clock::now();
    late = options.limit && now - started > *options.limit;
    stopped = stop.stop_requested();
    if (!late && !stopped) continue;
    if (options.grace.count() > 0 && !interrupted) {
      interrupted = now;
      ::kill(-pid, SIGINT);
    } else if (!interrupted || now - *interrupted > options.grace) {
      ::kill(-pid, SIGKILL);
      break;
    }
  }
  const auto left = status_of(pid);
  if (!left && stopped) throw Cancelled();
  if (!left)
    throw CommandTimeout(
        ErrorKind::io,
        fmt::format("{} did not finish{}, and could not be ended: a device does not answer", argv[0],
                    late ? fmt::format(" within {} ms", options.limit->count()) : ""),
        fmt::format("process {} is left behind; `dmesg` may say which device", pid));
  const int status = *left;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (interrupted && result.exit_code == 0) return result;
  if (stopped) throw Cancelled();
  if (late)
    throw CommandTimeout(ErrorKind::io,
                         fmt::format("{} did not finish within {} ms and was {}", argv[0],
                                     options.limit->count(), interrupted ? "interrupted" : "killed"));
  return result;
}

}  // namespace respaldo::os
