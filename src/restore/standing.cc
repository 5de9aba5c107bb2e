#include "restore/standing.h"

#include <unistd.h>

#include <algorithm>
#include <string>

namespace respaldo::restore {

mode_t kind_of(repo::NodeType type) {
  switch (type) {
    case repo::NodeType::file:
      return S_IFREG;
    case repo::NodeType::dir:
      return S_IFDIR;
    case repo::NodeType::symlink:
      return S_IFLNK;
    case repo::NodeType::dev:
      return S_IFBLK;
    case repo::NodeType::chardev:
      return S_IFCHR;
    case repo::NodeType::fifo:
      return S_IFIFO;
    case repo::NodeType::socket:
      return S_IFSOCK;
    default:
      return 0;
  }
}

bool differs(const repo::Node& node, const struct stat& st) {
  if ((st.st_mode & S_IFMT) != kind_of(node.type)) return true;
  return node.type == repo::NodeType::file &&
         (static_cast<std::uint64_t>(st.st_size) != node.size || st.st_mtim.tv_sec != node.mtime.seconds ||
          static_cast<std::uint64_t>(st.st_mtim.tv_nsec) != node.mtime.nanoseconds);
}

bool is_same(const repo::Node& node, const struct stat& st, int in) {
  if (differs(node, st)) return false;
  if (node.type == repo::NodeType::dev || node.type == repo::NodeType::chardev) return st.st_rdev == node.device;
  if (node.type != repo::NodeType::symlink) return true;
  std::string leads(node.link_target.size() + 1, '\0');
  const ssize_t length = ::readlinkat(in, node.name.c_str(), leads.data(), leads.size());
  return length >= 0 && leads.substr(0, static_cast<std::size_t>(length)) == node.link_target;
}

bool owner_or_mode_differs(const repo::Node& node, const struct stat& st) {
  if (::geteuid() != 0) return (st.st_mode & 0777) != (node.mode & 0777);
  return (st.st_mode & 07777) != (node.mode & 07777) || st.st_uid != node.uid || st.st_gid != node.gid;
}

bool may_be_given(const repo::Node& node, const struct stat& st) {
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1) return false;
  if (st.st_uid == ::geteuid()) return true;
  const bool gives_rights =
      (node.mode & (S_ISUID | S_ISGID)) != 0 ||
      std::ranges::find(node.xattrs, "security.capability", &repo::ExtendedAttribute::name) != node.xattrs.end();
  return ::geteuid() == 0 && st.st_uid == node.uid && !gives_rights;
}

}  // namespace respaldo::restore
