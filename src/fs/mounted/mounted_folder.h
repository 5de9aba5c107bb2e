// Files below the root of a mount, opened without ever leaving it.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>
#include <vector>

#include "fs/file_reader.h"
#include "os/file.h"

namespace respaldo::fs {

// Opens `path` ("/a/b", of any length) below `root`: no symbolic link is followed, no other mount entered.
// O_CLOEXEC, O_NOFOLLOW and O_NONBLOCK are added to `flags`. Error as of os::open_file.
os::UniqueFd open_below(int root, std::string_view path, int flags);

struct FolderEntry {
  std::string name;
  std::uint64_t inode = 0;
};
// All entries but "." and "..", as the kernel lists them. More than `limit` are Error(corrupt).
std::vector<FolderEntry> list_folder(int fd, std::size_t limit, std::string_view path);

// statx(2) of `name` in a folder, or of the folder itself when it is empty. Error names `path`.
struct ::statx stat_entry(int folder, const std::string& name, std::string_view path);
// Raw bytes of a symbolic link.
std::string read_link(int folder, const std::string& name, std::string_view path);
// Of an open file or folder; of anything else by its name in a folder. In the kernel's order.
std::vector<FileXattr> read_xattrs(int fd, std::string_view path);
std::vector<FileXattr> read_xattrs(int folder, const std::string& name, std::string_view path);

}  // namespace respaldo::fs
