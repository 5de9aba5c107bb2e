#include "fs/mounted/private_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/nbd.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <future>
#include <thread>

#include "base/error.h"
#include "fs/mounted/nbd_server.h"
#include "os/process.h"

namespace respaldo::fs {

namespace {

constexpr unsigned kMostNodes = 256;
constexpr unsigned long kSector = 512;

// Signals are for the program's other threads: one that reached the kernel's loop would end the device.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

void load_module() {
  if (::access("/sys/block/nbd0", F_OK) == 0) return;
  try {
    os::run_command({"modprobe", "-q", "nbd"}, {.limit = std::chrono::seconds(30)});
  } catch (const Error&) {
    // Seen below: there is no node.
  }
}

// Gives this thread a table of open files of its own, with the disks and files that it reads, and `kept`. The
// table goes with the thread: so when the process is killed the server's socket closes, though another thread
// waits within the kernel for an answer on it, and would hold a common table open for ever.
void take_own_files(int kept) {
  if (::unshare(CLONE_FILES) != 0) throw os::system_error(errno, "unshare", "the files of a thread");
  std::vector<int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/thread-self/fd"))
    found.push_back(std::stoi(entry.path().filename().native()));
  for (const int fd : found) {
    struct stat is {};
    // Whoever waits for the end of a pipe must not wait for this copy of it.
    if (fd != kept && ::fstat(fd, &is) == 0 && !S_ISREG(is.st_mode) && !S_ISBLK(is.st_mode)) ::close(fd);
  }
}

// A node that nobody uses, open and locked.
std::pair<os::UniqueFd, os::Path> take_node() {
  load_module();
  unsigned seen = 0;
  for (unsigned i = 0; i < kMostNodes; ++i) {
    const os::Path path = fmt::format("/dev/nbd{}", i);
    auto fd = os::try_open_file(path, O_RDWR | O_CLOEXEC);
    if (!fd) break;
    ++seen;
    std::uint64_t size = 0;
    const bool in_use = ::access(fmt::format("/sys/block/nbd{}/pid", i).c_str(), F_OK) == 0 ||
                        ::ioctl(fd->get(), BLKGETSIZE64, &size) != 0 || size != 0;
    if (!in_use && ::flock(fd->get(), LOCK_EX | LOCK_NB) == 0) return {std::move(*fd), path};
  }
  if (seen > 0)
    throw Error(ErrorKind::busy, fmt::format("all {} network block devices are in use", seen),
                "`ls /sys/block/nbd*/pid` shows which");
  throw Error(ErrorKind::unsupported, "the kernel has no network block device (module nbd)",
              "`modprobe nbd` says why");
}

}  // namespace

struct PrivateDisk::Impl {
  explicit Impl(block::DevicePtr device) : size(device->size()), server(std::move(device), kMostKept) {}

  void start();
  void wait_until_there() const;
  void stop() noexcept;

  const std::uint64_t size;
  NbdServer server;
  os::Path path;
  os::UniqueFd node, ours, kernels;
  std::atomic<int> failed = 0;  // errno
  std::thread serving, holding;
};

void PrivateDisk::Impl::start() {
  std::tie(node, path) = take_node();
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
    throw os::system_error(errno, "socketpair", path);
  ours = os::UniqueFd(sockets[0]);
  kernels = os::UniqueFd(sockets[1]);
  const SignalsBlocked blocked;  // the threads inherit it
  std::promise<void> promise;
  std::future<void> apart = promise.get_future();
  serving = std::thread([this, socket = ours.get(), not_needed = node.get(),
                         apart = std::move(promise)]() mutable {
    try {
      take_own_files(socket);
      ::close(not_needed);
      apart.set_value();
    } catch (...) {
      apart.set_exception(std::current_exception());
      return;
    }
    // Memory that this thread asks for must not be waited for by writing to its own device.
    ::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    server.serve(socket);
    ::close(socket);
  });
  apart.get();
  ours = {};  // the thread has the only one
  // The thread that gives the socket is the one that stays in the kernel.
  holding = std::thread([this] {
    const int fd = node.get();
    if (::ioctl(fd, NBD_SET_BLKSIZE, kSector) != 0 || ::ioctl(fd, NBD_SET_SIZE_BLOCKS, size / kSector) != 0 ||
        ::ioctl(fd, NBD_SET_FLAGS, static_cast<unsigned long>(NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH)) !=
            0 ||
        ::ioctl(fd, NBD_SET_SOCK, kernels.get()) != 0) {
      failed = errno;
      return;
    }
    if (::ioctl(fd, NBD_DO_IT) != 0) failed = errno;
    ::ioctl(fd, NBD_CLEAR_QUE);
    ::ioctl(fd, NBD_CLEAR_SOCK);
  });
}

void PrivateDisk::Impl::wait_until_there() const {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::uint64_t now = 0;
  while (::ioctl(node.get(), BLKGETSIZE64, &now) != 0 || now != size / kSector * kSector) {
    if (failed != 0) throw os::system_error(failed, "NBD_DO_IT", path);
    if (std::chrono::steady_clock::now() > deadline)
      throw Error(ErrorKind::io, fmt::format("{} does not become ready", path.native()));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void PrivateDisk::Impl::stop() noexcept {
  if (node) ::ioctl(node.get(), NBD_DISCONNECT);  // asks the server to end
  if (kernels) ::shutdown(kernels.get(), SHUT_RDWR);
  if (holding.joinable()) holding.join();
  if (serving.joinable()) serving.join();
}

PrivateDisk::PrivateDisk(block::DevicePtr device) : impl_(std::make_unique<Impl>(std::move(device))) {
  try {
    impl_->start();
    impl_->wait_until_there();
  } catch (...) {
    impl_->stop();
    throw;
  }
}

PrivateDisk::~PrivateDisk() { impl_->stop(); }

const os::Path& PrivateDisk::path() const { return impl_->path; }
ExtentSet PrivateDisk::written() const { return impl_->server.written(); }

}  // namespace respaldo::fs
