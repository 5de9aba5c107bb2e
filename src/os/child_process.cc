#include "os/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "os/file.h"

namespace respaldo::os {

namespace {

constexpr std::chrono::seconds kPatience{3};  // for what was killed to end

// Both ends lie above descriptor 2, where the program's own will be put, even if ours are closed.
UniqueFd raised(UniqueFd fd) {
  if (fd.get() > 2) return fd;
  UniqueFd high(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!high) throw Error(ErrorKind::io, fmt::format("fcntl: {}", std::strerror(errno)));
  return high;
}
struct Pipe {
  UniqueFd read, write;
  Pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0)
      throw Error(ErrorKind::io, fmt::format("pipe: {}", std::strerror(errno)));
    read = UniqueFd(fds[0]);
    write = UniqueFd(fds[1]);
    read = raised(std::move(read));
    write = raised(std::move(write));
  }
};

struct Actions {
  posix_spawn_file_actions_t value;
  Actions() { posix_spawn_file_actions_init(&value); }
  ~Actions() { posix_spawn_file_actions_destroy(&value); }
  Actions(const Actions&) = delete;
};
struct Attributes {
  posix_spawnattr_t value;
  Attributes() {
    posix_spawnattr_init(&value);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigfillset(&defaults);
    posix_spawnattr_setsigmask(&value, &none);
    posix_spawnattr_setsigdefault(&value, &defaults);
    posix_spawnattr_setpgroup(&value, 0);
    posix_spawnattr_setflags(&value, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~Attributes() { posix_spawnattr_destroy(&value); }
  Attributes(const Attributes&) = delete;
};

// Our terminal, when we are its foreground group (else it is not ours to lend).
UniqueFd own_terminal() {
  UniqueFd terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (terminal && ::tcgetpgrp(terminal.get()) != ::getpgrp()) terminal.reset();
  if (terminal) terminal = raised(std::move(terminal));
  return terminal;
}

std::mutex left_mutex;
std::vector<pid_t> left;

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> found;
  for (const std::string& word : words) found.push_back(const_cast<char*>(word.c_str()));
  found.push_back(nullptr);
  return found;
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
                           Terminal terminal) {
  reap();
  Pipe given, said, complained;
  if (terminal == Terminal::lent) terminal_ = own_terminal();
  Actions actions;
  const Attributes attributes;
  posix_spawn_file_actions_adddup2(&actions.value, given.read.get(), 0);
  posix_spawn_file_actions_adddup2(&actions.value, said.write.get(), 1);
  posix_spawn_file_actions_adddup2(&actions.value, complained.write.get(), 2);
  // Before it runs: whoever asks for a password in the background is stopped by the kernel.
  if (terminal_) posix_spawn_file_actions_addtcsetpgrp_np(&actions.value, terminal_.get());
  posix_spawn_file_actions_addclosefrom_np(&actions.value, 3);
  const int failed = ::posix_spawnp(&pid_, argv[0].c_str(), &actions.value, &attributes.value,
                                    pointers(argv).data(), pointers(environment).data());
  if (failed != 0) {
    take_terminal_back();
    Error error = system_error(failed, "cannot run", argv[0]);
    if (error.kind() == ErrorKind::not_found) error.set_hint("install it, or correct PATH");
    if (failed == EAGAIN || failed == ENOMEM)
      error.set_hint("the machine has no room for another process: see `free` and `ulimit -u`");
    throw error;
  }
  group_ = pid_;
  process_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  in = std::move(given.write);
  out = std::move(said.read);
  err = std::move(complained.read);
}

ChildProcess::~ChildProcess() {
  if (!status_) {
    kill(SIGKILL);
    wait(kPatience);
  }
  take_terminal_back();
}

void ChildProcess::kill(int signal) const {
  if (!status_) ::kill(-group_, signal);  // else the number may be somebody else's by now
}

bool ChildProcess::ended() const {
  if (status_) return true;
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid_;
}

std::optional<int> ChildProcess::wait(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!status_) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != 0) {
      status_ = status;
    } else if (std::chrono::steady_clock::now() > until) {
      return std::nullopt;
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  return status_;
}

void ChildProcess::leave_to_end() {
  for (UniqueFd* fd : {&in, &out, &err}) fd->reset();
  if (status_) return;
  status_ = 0;
  std::lock_guard lock(left_mutex);
  left.push_back(pid_);
}

std::size_t ChildProcess::reap() {
  std::lock_guard lock(left_mutex);
  std::erase_if(left, [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) != 0; });
  return left.size();
}

void ChildProcess::take_terminal_back() {
  if (!terminal_) return;
  // We are in the background now, and the kernel would stop us for this.
  sigset_t output, before;
  sigemptyset(&output);
  sigaddset(&output, SIGTTOU);
  pthread_sigmask(SIG_BLOCK, &output, &before);
  ::tcsetpgrp(terminal_.get(), ::getpgrp());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  terminal_.reset();
}

ssize_t write_quietly(int fd, std::string_view bytes) {
  sigset_t pipe, before;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &before);
  const ssize_t n = ::write(fd, bytes.data(), bytes.size());
  const int number = errno;
  // Also when the reader went after a part was written.
  if (n < static_cast<ssize_t>(bytes.size())) {
    const timespec now{};
    ::sigtimedwait(&pipe, nullptr, &now);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = number;
  return n;
}

}  // namespace respaldo::os
