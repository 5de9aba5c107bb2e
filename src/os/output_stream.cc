#include "os/output_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "os/thread_group.h"

namespace respaldo::os {

namespace {
// Signals do not interrupt a wait here: a thread of their own takes them.
constexpr std::chrono::milliseconds kLook{100};
}  // namespace

OutputStream::OutputStream(int fd, std::string name, std::stop_token stop)
    : fd_(fd), name_(std::move(name)), stop_(std::move(stop)) {
  struct stat st {};
  if (::fstat(fd, &st) != 0 || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) return;
  may_block_ = true;
  is_socket_ = S_ISSOCK(st.st_mode);
  const int flags = ::fcntl(fd, F_GETFL);
  // Not O_NONBLOCK on a description that other programs share.
  if (!is_socket_ && flags >= 0 && (flags & O_ACCMODE) != O_RDONLY)
    if (const int own = ::open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        own >= 0)
      own_ = UniqueFd(own);
}

OutputStream::OutputStream(const Path& path, std::stop_token stop) : fd_(-1), name_(path), stop_(std::move(stop)), may_block_(true) {
  // Only a named pipe has no reader yet: a device that is not there (ENXIO, too) never comes.
  struct stat st {};
  const bool waits = ::stat(path.c_str(), &st) == 0 && S_ISFIFO(st.st_mode);
  for (;;) {
    const int own = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (own >= 0) {
      own_ = UniqueFd(own);
      return;
    }
    if (errno != EINTR && !(waits && errno == ENXIO)) throw system_error(errno, "open", path);
    throw_if_stopped(stop_);
    std::this_thread::sleep_for(kLook);
  }
}

void OutputStream::write(ByteView bytes) {
  if (!may_block_ || (!own_ && !is_socket_)) return write_all(fd_, bytes, name_);
  const int fd = own_ ? own_.get() : fd_;
  while (!bytes.empty()) {
    const ssize_t n = is_socket_ ? ::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                                 : ::write(fd, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) throw system_error(errno, "write", name_);
    throw_if_stopped(stop_);
    pollfd ready{fd, POLLOUT, 0};
    ::poll(&ready, 1, static_cast<int>(kLook.count()));
  }
}

}  // namespace respaldo::os
