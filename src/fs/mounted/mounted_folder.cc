#include "fs/mounted/mounted_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "base/error.h"

namespace respaldo::fs {

namespace {

constexpr std::size_t kLongestStep = PATH_MAX - 256;

Error failed(std::string_view call, std::string_view path) {
  return os::system_error(errno, call, os::Path(std::string(path)));
}

os::UniqueFd open_step(int folder, const std::string& name, int flags, std::string_view path) {
  open_how how{};
  const int quick = (flags & O_PATH) != 0 ? 0 : O_NONBLOCK;  // both together are refused
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW | quick);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, folder, name.c_str(), &how, sizeof how);
    if (fd >= 0) return os::UniqueFd(static_cast<int>(fd));
    if (errno != EINTR && errno != EAGAIN) throw failed("openat2", path);
  }
}

// Attributes through the two calls that list and get them.
template <class List, class Get>
std::vector<FileXattr> collect(const List& list, const Get& get, std::string_view path) {
  std::string names;
  for (;;) {
    const ssize_t length = list(names.data(), names.size());
    if (length < 0) {
      if (errno == ENOTSUP) return {};
      if (errno != ERANGE) throw failed("listxattr", path);
      names.resize(static_cast<std::size_t>(std::max<ssize_t>(list(nullptr, 0), 256)));
    } else if (names.empty()) {
      if (length == 0) return {};
      names.resize(static_cast<std::size_t>(length));
    } else {
      names.resize(static_cast<std::size_t>(length));
      break;
    }
  }
  std::vector<FileXattr> result;
  for (std::size_t at = 0; at < names.size(); at += std::strlen(names.c_str() + at) + 1) {
    const char* name = names.c_str() + at;
    if (*name == '\0') continue;
    FileXattr xattr{name, std::string(256, '\0')};
    ssize_t length = 0;
    while ((length = get(name, xattr.value.data(), xattr.value.size())) < 0 && errno == ERANGE)
      xattr.value.resize(xattr.value.size() < 65536 ? 65536 : xattr.value.size() * 16);
    if (length < 0 && (errno == ENODATA || errno == ENOTSUP)) continue;
    if (length < 0) throw failed(fmt::format("getxattr {}", name), path);
    xattr.value.resize(static_cast<std::size_t>(length));
    result.push_back(std::move(xattr));
  }
  return result;
}

}  // namespace

os::UniqueFd open_below(int root, std::string_view path, int flags) {
  std::string_view rest = path;
  while (rest.starts_with('/')) rest.remove_prefix(1);
  if (rest.empty()) rest = ".";
  os::UniqueFd folder;
  while (rest.size() > kLongestStep) {
    const std::size_t slash = rest.rfind('/', kLongestStep);
    if (slash == rest.npos) break;
    folder = open_step(folder ? folder.get() : root, std::string(rest.substr(0, slash)), O_PATH | O_DIRECTORY,
                       path);
    rest.remove_prefix(slash + 1);
  }
  return open_step(folder ? folder.get() : root, std::string(rest), flags, path);
}

std::vector<FolderEntry> list_folder(int fd, std::size_t limit, std::string_view path) {
  std::vector<FolderEntry> result;
  std::vector<char> buffer(256U << 10);
  for (;;) {
    const ssize_t got = ::getdents64(fd, buffer.data(), buffer.size());
    if (got < 0) throw failed("getdents64", path);
    if (got == 0) return result;
    for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
      dirent64 head;
      constexpr std::size_t kHead = offsetof(dirent64, d_name);
      std::memcpy(&head, buffer.data() + at, kHead);
      const char* name = buffer.data() + at + kHead;
      std::string text(name, ::strnlen(name, head.d_reclen - kHead));
      at += head.d_reclen;
      if (text == "." || text == "..") continue;
      if (result.size() == limit) throw Error(ErrorKind::corrupt, "it has more entries than can be");
      result.push_back({std::move(text), head.d_ino});
    }
  }
}

struct ::statx stat_entry(int folder, const std::string& name, std::string_view path) {
  struct ::statx st {};
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (name.empty() ? AT_EMPTY_PATH : 0);
  if (::statx(folder, name.c_str(), flags, STATX_BASIC_STATS, &st) != 0) throw failed("statx", path);
  return st;
}

std::string read_link(int folder, const std::string& name, std::string_view path) {
  std::string target(PATH_MAX, '\0');
  const ssize_t length = ::readlinkat(folder, name.c_str(), target.data(), target.size());
  if (length < 0) throw failed("readlinkat", path);
  target.resize(static_cast<std::size_t>(length));
  return target;
}

std::vector<FileXattr> read_xattrs(int fd, std::string_view path) {
  return collect(
      [&](char* out, std::size_t size) { return ::flistxattr(fd, out, size); },
      [&](const char* name, void* out, std::size_t size) { return ::fgetxattr(fd, name, out, size); }, path);
}

std::vector<FileXattr> read_xattrs(int folder, const std::string& name, std::string_view path) {
  const std::string place = fmt::format("/proc/self/fd/{}/{}", folder, name);
  return collect([&](char* out, std::size_t size) { return ::llistxattr(place.c_str(), out, size); },
                 [&](const char* xattr, void* out, std::size_t size) {
                   return ::lgetxattr(place.c_str(), xattr, out, size);
                 },
                 path);
}

}  // namespace respaldo::fs
