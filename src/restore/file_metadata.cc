#include "restore/file_metadata.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/printable.h"
#include "os/unique_fd.h"

namespace respaldo::restore {

namespace {

constexpr std::size_t kLongestXattrs = 1U << 20;  // all of one file; the kernel has 64 KiB for each value

bool may_not(int number) {
  return number == EPERM || number == EACCES || number == EOPNOTSUPP || number == ENOSYS || number == EROFS;
}

class Setter {
 public:
  // `openable`: fd can do more than O_PATH.
  Setter(int fd, bool openable, const Metadata& metadata)
      : fd_(fd), openable_(openable), proc_(fmt::format("/proc/self/fd/{}", fd)), metadata_(metadata) {}

  void owner() {
    struct stat st {};
    if (::fstatat(fd_, "", &st, AT_EMPTY_PATH) != 0) return fail("stat");
    if (st.st_uid == metadata_.uid && st.st_gid == metadata_.gid) return;
    constexpr uid_t kSame = static_cast<uid_t>(-1);
    if (::fchownat(fd_, "", metadata_.uid, metadata_.gid, AT_EMPTY_PATH) == 0) return;
    if (!may_not(errno) && errno != EINVAL) return fail("chown");
    outcome_.without_owner = true;
    const bool group =
        st.st_gid == metadata_.gid || ::fchownat(fd_, "", kSame, metadata_.gid, AT_EMPTY_PATH) == 0;
    if (st.st_uid != metadata_.uid) mode_ &= ~static_cast<mode_t>(S_ISUID);
    if (!group && !S_ISDIR(st.st_mode)) mode_ &= ~static_cast<mode_t>(S_ISGID);
  }

  void xattrs() {
    remove_others();
    std::size_t total = 0;
    for (const repo::ExtendedAttribute& attribute : metadata_.xattrs) {
      total += attribute.name.size() + attribute.value.size();
      if (attribute.name.empty() || attribute.name.find('\0') != std::string::npos ||
          total > kLongestXattrs) {
        tell("an extended attribute that no file can have");
        continue;
      }
      const int done = openable_ ? ::fsetxattr(fd_, attribute.name.c_str(), attribute.value.data(),
                                               attribute.value.size(), 0)
                                 : ::setxattr(proc_.c_str(), attribute.name.c_str(), attribute.value.data(),
                                              attribute.value.size(), 0);
      if (done == 0) continue;
      if (may_not(errno) || (!openable_ && errno == ENOENT)) {
        outcome_.without_xattrs = true;
      } else {
        tell(fmt::format("extended attribute {}: {}", printable(attribute.name), std::strerror(errno)));
      }
    }
  }

  void mode() {
    const int done = openable_ ? ::fchmod(fd_, mode_) : ::chmod(proc_.c_str(), mode_);
    if (done == 0) return;
    // An ordinary user may not say sticky or setgid everywhere; the rest is worth having.
    if (openable_ && errno == EPERM && ::fchmod(fd_, mode_ & 0777) == 0) return;
    fail("chmod");
  }

  void fail(const char* call) { tell(fmt::format("{}: {}", call, std::strerror(errno))); }
  MetadataOutcome outcome() { return std::move(outcome_); }

 private:
  void tell(std::string text) {
    if (!outcome_.problem.empty()) outcome_.problem += "; ";
    if (outcome_.problem.size() < 1000) outcome_.problem += text;
  }

  // What was inherited from a default ACL, or was there before.
  void remove_others() {
    const std::string list = names_there();
    for (std::size_t at = 0; at < list.size();) {
      const std::string name = list.substr(at, list.find('\0', at) - at);
      at += name.size() + 1;
      if (name.starts_with("security.") && name != "security.capability") continue;  // labels: the system's
      if (std::ranges::find(metadata_.xattrs, name, &repo::ExtendedAttribute::name) != metadata_.xattrs.end())
        continue;
      if (openable_) {
        ::fremovexattr(fd_, name.c_str());
      } else {
        ::removexattr(proc_.c_str(), name.c_str());
      }
    }
  }

  // Each with a NUL byte after it.
  std::string names_there() {
    std::string list(4096, '\0');
    while (true) {
      const ssize_t length = openable_ ? ::flistxattr(fd_, list.data(), list.size())
                                       : ::listxattr(proc_.c_str(), list.data(), list.size());
      if (length >= 0) {
        list.resize(static_cast<std::size_t>(length));
        return list;
      }
      if (errno != ERANGE || list.size() >= XATTR_LIST_MAX) break;
      list.resize(XATTR_LIST_MAX);
    }
    // None are known here, or there is no /proc: setting them says so.
    if (errno != EOPNOTSUPP && errno != ENOSYS && (openable_ || errno != ENOENT)) fail("listxattr");
    return {};
  }

  const int fd_;
  const bool openable_;
  const std::string proc_;
  const Metadata& metadata_;
  mode_t mode_ = metadata_.mode & 07777;
  MetadataOutcome outcome_;
};

timespec to_timespec(const repo::Timestamp& time) {
  timespec spec{};
  spec.tv_sec = time.seconds;
  // Larger values mean "now" or "leave it".
  spec.tv_nsec = std::min<std::uint32_t>(time.nanoseconds, 999'999'999);
  return spec;
}

}  // namespace

Metadata Metadata::of(repo::Node&& node) {
  return {node.mode, node.uid, node.gid, node.mtime, node.atime, std::move(node.xattrs)};
}

MetadataOutcome set_metadata(int fd, const Metadata& metadata) {
  Setter setter(fd, true, metadata);
  setter.owner();
  setter.xattrs();
  setter.mode();
  const timespec times[2] = {to_timespec(metadata.atime), to_timespec(metadata.mtime)};
  if (::futimens(fd, times) != 0) setter.fail("utimens");
  return setter.outcome();
}

MetadataOutcome set_metadata_at(int folder, const std::string& name, const Metadata& metadata) {
  const os::UniqueFd fd(::openat(folder, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  Setter setter(fd.get(), false, metadata);
  struct stat st {};
  if (!fd || ::fstatat(fd.get(), "", &st, AT_EMPTY_PATH) != 0) {
    setter.fail("open");
    return setter.outcome();
  }
  // Between making and opening it, whoever owns the folder may have put a link to something of others here.
  if ((st.st_mode & S_IFMT) != (metadata.mode & S_IFMT) || st.st_nlink != 1) {
    MetadataOutcome outcome;
    outcome.problem = "it was replaced by something else meanwhile";
    return outcome;
  }
  setter.owner();
  setter.xattrs();
  if (!S_ISLNK(st.st_mode)) setter.mode();
  const timespec times[2] = {to_timespec(metadata.atime), to_timespec(metadata.mtime)};
  if (::utimensat(folder, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) setter.fail("utimens");
  return setter.outcome();
}

}  // namespace respaldo::restore
