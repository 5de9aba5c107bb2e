#include "fs/mounted/private_mount.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/printable.h"
#include "os/thread_group.h"

namespace respaldo::fs {

namespace {

// What the child tells, beside the descriptor.
struct Answer {
  int error = 0;  // errno; 0: mounted
  char call[16] = {};
  char said[2000] = {};  // the kernel's own words, a line each
};

// Runs between fork and _exit of a program with threads: system calls only.
class Child {
 public:
  Child(const MountRequest& request, int socket) : request_(request), socket_(socket) {}

  [[noreturn]] void run() {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    // Whatever else is open here would stay open if the kernel kept this process.
    ::close_range(0, static_cast<unsigned>(socket_) - 1, 0);
    ::close_range(static_cast<unsigned>(socket_) + 1, ~0U, 0);
    const int mount = mount_it();
    tell(mount);
    ::_exit(0);
  }

 private:
  int mount_it() {
    const int context = ::fsopen(request_.type.c_str(), FSOPEN_CLOEXEC);
    if (context < 0) return failed("fsopen");
    bool good = ::fsconfig(context, FSCONFIG_SET_STRING, "source", request_.device.c_str(), 0) == 0 &&
                ::fsconfig(context, FSCONFIG_SET_FLAG, "ro", nullptr, 0) == 0;
    for (std::size_t i = 0; good && i < request_.parameters.size(); ++i) {
      const auto& [name, value] = request_.parameters[i];
      good = value.empty() ? ::fsconfig(context, FSCONFIG_SET_FLAG, name.c_str(), nullptr, 0) == 0
                           : ::fsconfig(context, FSCONFIG_SET_STRING, name.c_str(), value.c_str(), 0) == 0;
    }
    if (!good || ::fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
      failed("fsconfig");
      listen(context);
      return -1;
    }
    const int mount = ::fsmount(context, FSMOUNT_CLOEXEC,
                                MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
                                    MOUNT_ATTR_NOATIME | MOUNT_ATTR_NOSYMFOLLOW);
    return mount < 0 ? failed("fsmount") : mount;
  }

  int failed(const char* call) {
    answer_.error = errno;
    std::strncpy(answer_.call, call, sizeof answer_.call - 1);
    return -1;
  }

  void listen(int context) {
    std::size_t used = 0;
    while (used + 2 < sizeof answer_.said) {
      const ssize_t n = ::read(context, answer_.said + used, sizeof answer_.said - used - 2);
      if (n <= 0) break;
      used += static_cast<std::size_t>(n);
      answer_.said[used++] = '\n';
    }
  }

  void tell(int mount) {
    iovec bytes{&answer_, sizeof answer_};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    if (mount >= 0) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &mount, sizeof mount);
    }
    ::sendmsg(socket_, &message, MSG_NOSIGNAL);
  }

  const MountRequest& request_;
  const int socket_;
  Answer answer_;
};

// Absent when the child has died without a word.
bool receive(int socket, Answer& answer, os::UniqueFd& mount) {
  iovec bytes{&answer, sizeof answer};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = 0;
  do {
    n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    mount = os::UniqueFd(fd);
  }
  return n == static_cast<ssize_t>(sizeof answer);
}

// Reaps the child, or leaves it behind when the kernel does not let it go.
void end(pid_t child) {
  ::kill(child, SIGKILL);
  for (int i = 0; i < 200; ++i) {
    if (::waitpid(child, nullptr, WNOHANG) != 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// The kernel's lines have a letter for their kind before them: "e XFS: ...".
std::string in_one_line(std::string_view said) {
  std::string result;
  while (!said.empty()) {
    std::string_view line = said.substr(0, said.find('\n'));
    said.remove_prefix(std::min(said.size(), line.size() + 1));
    if (line.size() > 2 && line[1] == ' ') line.remove_prefix(2);
    if (line.empty()) continue;
    if (!result.empty()) result += "; ";
    result += printable(line);
  }
  return result;
}

Error refusal(const MountRequest& request, Answer& answer) {
  answer.call[sizeof answer.call - 1] = answer.said[sizeof answer.said - 1] = '\0';
  const std::string_view call = answer.call;
  if (call == "fsopen" && answer.error == ENODEV)
    return {ErrorKind::unsupported, fmt::format("this kernel cannot mount {}", request.type),
            fmt::format("`modprobe {}` says why", request.type)};
  if (call == "fsopen" && answer.error == ENOSYS)
    return {ErrorKind::unsupported, "this kernel is too old to mount privately (before Linux 5.2)"};
  const std::string said = in_one_line(answer.said);
  Error error(
      answer.error == EPERM || answer.error == EACCES ? ErrorKind::refused : ErrorKind::io,
      fmt::format("the kernel cannot mount it as {}: {}{}{}{}", request.type, std::strerror(answer.error),
                  said.empty() ? "" : " (", said, said.empty() ? "" : ")"),
      "`dmesg` may say more");
  error.set_error_number(answer.error);
  return error;
}

}  // namespace

os::UniqueFd mount_privately(const MountRequest& request, const std::stop_token& stop) {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
    throw os::system_error(errno, "socketpair", request.device);
  const os::UniqueFd ours(sockets[0]);
  os::UniqueFd childs(::fcntl(sockets[1], F_DUPFD_CLOEXEC, 3));
  ::close(sockets[1]);
  if (!childs) throw os::system_error(errno, "fcntl", request.device);

  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  const pid_t child = ::fork();
  if (child == 0) Child(request, childs.get()).run();
  const int number = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) throw os::system_error(number, "fork", request.device);
  childs.reset();

  const auto deadline = std::chrono::steady_clock::now() + request.limit;
  for (;;) {
    pollfd ready{ours.get(), POLLIN, 0};
    if (::poll(&ready, 1, 50) > 0) break;
    if (stop.stop_requested()) {
      end(child);
      throw Cancelled();
    }
    if (std::chrono::steady_clock::now() > deadline) {
      end(child);
      throw Error(ErrorKind::io,
                  fmt::format("the kernel has not mounted it as {} within {} seconds", request.type,
                              request.limit.count()),
                  "its filesystem may be damaged; `dmesg` may say more");
    }
  }
  Answer answer;
  os::UniqueFd mount;
  const bool told = receive(ours.get(), answer, mount);
  end(child);
  if (!told)
    throw Error(ErrorKind::io,
                fmt::format("the kernel ended the process that mounted it as {}", request.type),
                "its filesystem is damaged or hostile; `dmesg` says more");
  if (answer.error != 0) throw refusal(request, answer);
  if (!mount) throw Error(ErrorKind::io, "the mount was not handed over");
  return mount;
}

}  // namespace respaldo::fs
