#include "restore/hard_link.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace respaldo::restore {

std::string make_hard_link(const TargetFolder& target, OpenFolder& current, const LinkSource& source,
                           const FolderPtr& folder, const std::string& name) {
  constexpr const char* kReplaced = "it was replaced meanwhile";
  OpenFolder from_folder;
  int from = -1;
  try {
    from = target.open(source.folder, from_folder);
  } catch (const Error& error) {
    return error.what();
  }
  struct stat st {};
  if (::fstatat(from, source.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return std::strerror(errno);
  if (place_of(st) != source.place) return kReplaced;
  const int in = target.open(folder, current);
  const std::string made = folder->fresh ? name : name_while_made();
  if (::linkat(from, source.name.c_str(), in, made.c_str(), 0) != 0) return std::strerror(errno);
  if (::fstatat(in, made.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || place_of(st) != source.place) {
    ::unlinkat(in, made.c_str(), 0);
    return kReplaced;
  }
  try {
    put_in_place(*folder, in, made, name);
  } catch (const Error&) {
    ::unlinkat(in, made.c_str(), 0);
    throw;
  }
  // Renamed onto a name of the same inode, the old one stays.
  if (made != name) ::unlinkat(in, made.c_str(), 0);
  return {};
}

}  // namespace respaldo::restore
