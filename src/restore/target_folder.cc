#include "restore/target_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "base/printable.h"
#include "os/file.h"

namespace respaldo::restore {

namespace {

// Nothing, or nothing but `besides`. False when it cannot be read.
bool holds_nothing(int parent, const char* name, std::string_view besides) {
  const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::fdopendir(fd), ::closedir);
  if (!folder) {
    ::close(fd);
    return false;
  }
  errno = 0;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string_view found = entry->d_name;
    if (found != "." && found != ".." && found != besides) return false;
  }
  return errno == 0;
}

bool is_bare(int folder) {
  constexpr const char* kLostFound = "lost+found";
  if (!holds_nothing(folder, ".", kLostFound)) return false;
  struct stat st {};
  if (::fstatat(folder, kLostFound, &st, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT;
  return holds_nothing(folder, kLostFound, "");
}

}  // namespace

std::string path_in(const Folder& folder, const std::string& name) {
  return folder.path.empty() ? name : folder.path + "/" + name;
}

TargetFolder::TargetFolder(const std::string& path) {
  struct stat st {};
  bool fresh = false;
  if (::stat(path.c_str(), &st) != 0) {
    if (errno != ENOENT) throw os::system_error(errno, "stat", path);
    std::error_code failed;
    const os::Path parent = os::Path(path).parent_path();
    if (!parent.empty()) std::filesystem::create_directories(parent, failed);
    if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) throw os::system_error(errno, "mkdir", path);
    fresh = true;
  }
  os::UniqueFd fd = os::open_file(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (::fstat(fd.get(), &st) != 0) throw os::system_error(errno, "stat", path);
  whole_ = os::open_file(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bare_ = fresh || is_bare(whole_.get());
  beneath_ = std::make_unique<Beneath>(std::move(fd));
  top_ = std::make_shared<Folder>(Folder{"", fresh, place_of(st)});
}

os::UniqueFd TargetFolder::opened(const Folder& folder, int flags) const {
  os::UniqueFd fd = beneath_->open_folder(folder.path, flags);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) throw os::system_error(errno, "stat", folder.path);
  if (place_of(st) != folder.place)
    throw Error(ErrorKind::io,
                fmt::format("the folder {} was replaced by another one meanwhile", printable(folder.path)));
  return fd;
}

struct stat TargetFolder::status() const {
  struct stat st {};
  if (::fstat(whole_.get(), &st) != 0) throw os::system_error(errno, "stat", "the target");
  return st;
}

int TargetFolder::open(const FolderPtr& folder, OpenFolder& cache) const {
  if (cache.folder == folder) return cache.fd.get();
  cache.folder.reset();
  cache.fd = opened(*folder, O_PATH);
  cache.folder = folder;
  return cache.fd.get();
}

void TargetFolder::sync() const {
  if (::syncfs(whole_.get()) != 0) throw os::system_error(errno, "syncfs", "the target");
}

std::string name_while_made(const Folder& folder, const std::string& name) {
  if (folder.fresh) return name;
  std::uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value))
    throw Error(ErrorKind::io, "getrandom failed");
  return fmt::format(".respaldo-{:016x}", value);
}

void put_in_place(int folder, const std::string& made, const std::string& name) {
  if (made == name) return;
  if (::renameat(folder, made.c_str(), folder, name.c_str()) == 0) return;
  if (errno != EISDIR && errno != ENOTEMPTY && errno != EEXIST) throw os::system_error(errno, "rename", name);
  if (::unlinkat(folder, name.c_str(), AT_REMOVEDIR) != 0)
    throw Error(ErrorKind::refused,
                fmt::format("a folder is in its place and cannot be removed: {}", std::strerror(errno)));
  if (::renameat(folder, made.c_str(), folder, name.c_str()) != 0)
    throw os::system_error(errno, "rename", name);
}

}  // namespace respaldo::restore
