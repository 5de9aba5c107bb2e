#include "os/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/printable.h"

namespace respaldo::os {

namespace {

template <class Call>
auto retry(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

ErrorKind kind_of(int number) {
  switch (number) {
    case ENOENT:
    case ENOTDIR: return ErrorKind::not_found;
    case ENOSPC:
    case EDQUOT: return ErrorKind::no_space;
    case EACCES:
    case EPERM:
    case EROFS: return ErrorKind::refused;
    case EBUSY:
    case ETXTBSY: return ErrorKind::busy;
    default: return ErrorKind::io;
  }
}

std::string random_suffix() {
  std::uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value))
    throw Error(ErrorKind::io, "getrandom failed");
  return fmt::format("{:016x}", value);
}

}  // namespace

Error system_error(int number, std::string_view call, const Path& path, std::source_location where) {
  Error error(kind_of(number), fmt::format("{} {}: {}", call, printable(path.native()), std::strerror(number)), {}, where);
  error.set_error_number(number);
  return error;
}

UniqueFd open_file(const Path& path, int flags, mode_t mode) {
  const int fd = retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
  if (fd < 0) throw system_error(errno, "open", path);
  return UniqueFd(fd);
}

std::optional<UniqueFd> try_open_file(const Path& path, int flags, mode_t mode) {
  const int fd = retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
  if (fd < 0 && errno == ENOENT) return std::nullopt;
  if (fd < 0) throw system_error(errno, "open", path);
  return UniqueFd(fd);
}

std::size_t read_at(int fd, std::uint64_t offset, MutableBytes out, const Path& name) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = retry([&] {
      return ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    });
    if (n < 0) {
      const int number = errno;
      throw system_error(number, "read", name).add_context(fmt::format("at byte {}", offset + done));
    }
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

void read_exactly_at(int fd, std::uint64_t offset, MutableBytes out, const Path& name) {
  const std::size_t got = read_at(fd, offset, out, name);
  if (got != out.size())
    throw Error(ErrorKind::corrupt, fmt::format("{} ends at byte {}, but {} bytes are needed at byte {}",
                                                printable(name.native()), offset + got, out.size(), offset));
}

void write_all_at(int fd, std::uint64_t offset, ByteView bytes, const Path& name) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = retry([&] {
      return ::pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    });
    if (n < 0) {
      const int number = errno;
      throw system_error(number, "write", name).add_context(fmt::format("at byte {}", offset + done));
    }
    done += static_cast<std::size_t>(n);
  }
}

void write_all(int fd, ByteView bytes, const Path& name) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = retry([&] { return ::write(fd, bytes.data() + done, bytes.size() - done); });
    if (n < 0) throw system_error(errno, "write", name);
    done += static_cast<std::size_t>(n);
  }
}

void sync_file(int fd, const Path& name) {
  if (retry([&] { return ::fdatasync(fd); }) != 0) throw system_error(errno, "fdatasync", name);
}

void keep_standard_descriptors() {
  constexpr int kUseless[] = {O_WRONLY, O_RDONLY, O_RDONLY};  // reading nothing, or writing to nowhere, is no success
  for (int fd = 0; fd < 3; ++fd)
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF && ::open("/dev/null", kUseless[fd]) != fd) ::_exit(2);
}

void sync_folder(const Path& folder) {
  const UniqueFd fd = open_file(folder, O_RDONLY | O_DIRECTORY);
  // Some filesystems cannot sync a folder and say EINVAL: then there is nothing to wait for.
  if (retry([&] { return ::fsync(fd.get()); }) != 0 && errno != EINVAL) throw system_error(errno, "fsync", folder);
}

namespace {
std::string read_all(int fd, const Path& path, std::uint64_t limit) {
  std::string text;
  for (;;) {
    const std::size_t at = text.size();
    text.resize(at + 65536);
    const ssize_t n = retry([&] { return ::read(fd, text.data() + at, 65536); });
    if (n < 0) throw system_error(errno, "read", path);
    text.resize(at + static_cast<std::size_t>(n));
    if (n == 0) return text;
    if (text.size() > limit)
      throw Error(ErrorKind::corrupt, fmt::format("{} is larger than {} bytes", printable(path.native()), limit));
  }
}
}  // namespace

std::string read_text(const Path& path, std::uint64_t limit) {
  return read_all(open_file(path, O_RDONLY).get(), path, limit);
}

std::optional<std::string> try_read_text(const Path& path, std::uint64_t limit) {
  auto fd = try_open_file(path, O_RDONLY);
  if (!fd) return std::nullopt;
  return read_all(fd->get(), path, limit);
}

std::uint64_t device_size(int fd, const Path& name) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) throw system_error(errno, "fstat", name);
  if (S_ISBLK(st.st_mode)) {
    std::uint64_t size = 0;
    if (::ioctl(fd, BLKGETSIZE64, &size) != 0) throw system_error(errno, "BLKGETSIZE64", name);
    return size;
  }
  if (!S_ISREG(st.st_mode))
    throw Error(ErrorKind::usage, fmt::format("{} is neither a file nor a block device", printable(name.native())));
  return static_cast<std::uint64_t>(st.st_size);
}

namespace {
// Where a chain of symbolic links ends, there or not.
Path end_of_links(Path path) {
  constexpr int kMostLinks = 40;  // as the kernel's
  std::error_code failed;
  for (int i = 0; i < kMostLinks && std::filesystem::is_symlink(path, failed); ++i) {
    const Path next = std::filesystem::read_symlink(path, failed);
    if (failed) break;
    path = next.is_absolute() ? next : path.parent_path() / next;
  }
  return path;
}
}  // namespace

AtomicFile::AtomicFile(Path final_path, mode_t mode) : final_(end_of_links(std::move(final_path))) {
  struct stat st {};
  // A rename would put a file in the place of /dev/null.
  if (::stat(final_.c_str(), &st) == 0 && !S_ISREG(st.st_mode))
    throw Error(ErrorKind::usage, fmt::format("{} exists and is not a file", printable(final_.native())));
  temporary_ = final_.native() + "-tmp-" + random_suffix();
  fd_ = open_file(temporary_, O_RDWR | O_CREAT | O_EXCL, mode);
}

AtomicFile::~AtomicFile() {
  if (fd_) ::unlink(temporary_.c_str());
}

void AtomicFile::write(ByteView bytes) { write_all(fd_.get(), bytes, temporary_); }

void AtomicFile::look_like_replaced() {
  struct stat st {};
  if (::stat(final_.c_str(), &st) != 0) return;
  // The mode last: a change of the owner takes setuid away. Others get no more than they had.
  const bool owned = ::fchown(fd_.get(), st.st_uid, st.st_gid) == 0;
  std::string names(std::size_t{64} << 10, '\0'), value(std::size_t{64} << 10, '\0');
  const ssize_t length = ::listxattr(final_.c_str(), names.data(), names.size());
  for (ssize_t at = 0; at < length;) {
    const char* const name = names.c_str() + at;
    const ssize_t size = ::getxattr(final_.c_str(), name, value.data(), value.size());
    if (size >= 0) static_cast<void>(!::fsetxattr(fd_.get(), name, value.data(), static_cast<std::size_t>(size), 0));
    at += static_cast<ssize_t>(std::strlen(name)) + 1;
  }
  static_cast<void>(!::fchmod(fd_.get(), st.st_mode & (owned ? 07777U : 0700U)));
}

void AtomicFile::commit(Durability durability) {
  if (durability == Durability::now) sync_file(fd_.get(), temporary_);
  if (::rename(temporary_.c_str(), final_.c_str()) != 0) throw system_error(errno, "rename", temporary_);
  fd_.reset();
  if (durability == Durability::now) sync_folder(final_.parent_path().empty() ? Path(".") : final_.parent_path());
}

std::optional<FileLock> FileLock::try_lock(const Path& path, Mode mode, int open_flags) {
  UniqueFd fd = open_file(path, open_flags);
  const int how = (mode == Mode::shared ? LOCK_SH : LOCK_EX) | LOCK_NB;
  if (retry([&] { return ::flock(fd.get(), how); }) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    throw system_error(errno, "flock", path);
  }
  return FileLock(std::move(fd));
}

TemporaryFolder::TemporaryFolder(std::string_view prefix) {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = fmt::format("{}/{}-XXXXXX", base != nullptr && *base != '\0' ? base : "/tmp", prefix);
  if (::mkdtemp(pattern.data()) == nullptr) throw system_error(errno, "mkdtemp", pattern);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace respaldo::os
