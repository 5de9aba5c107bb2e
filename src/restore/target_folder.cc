#include "restore/target_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "os/file.h"

namespace respaldo::restore {

namespace {

// Gives each name in a folder to `take`, until that says false. False when it did, or the folder cannot be read.
template <class Take>
bool each_name(int parent, const char* name, Take take) {
  const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::fdopendir(fd), ::closedir);
  if (!folder) {
    ::close(fd);
    return false;
  }
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(folder.get());
    if (entry == nullptr) return errno == 0;
    const std::string_view found = entry->d_name;
    if (found != "." && found != ".." && !take(entry->d_name)) return false;
  }
}

// Nothing, or nothing but `besides`.
bool holds_nothing(int parent, const char* name, std::string_view besides) {
  return each_name(parent, name, [&](const char* found) { return found == besides; });
}

constexpr std::string_view kMark = ".respaldo-";
constexpr std::size_t kDigits = 16;

bool is_name_while_made(std::string_view name) {
  return name.size() == kMark.size() + kDigits && name.starts_with(kMark) &&
         name.find_first_not_of("0123456789abcdef", kMark.size()) == std::string_view::npos;
}

bool is_before(const timespec& a, const timespec& b) {
  return std::tie(a.tv_sec, a.tv_nsec) < std::tie(b.tv_sec, b.tv_nsec);
}

bool is_bare(int folder) {
  constexpr const char* kLostFound = "lost+found";
  if (!holds_nothing(folder, ".", kLostFound)) return false;
  struct stat st {};
  if (::fstatat(folder, kLostFound, &st, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT;
  return holds_nothing(folder, kLostFound, "");
}

}  // namespace

// Without recursion, however many there are.
Folder::~Folder() {
  while (parent && parent.use_count() == 1) {
    FolderPtr above = std::move(parent->parent);
    parent = std::move(above);
  }
}

namespace {

constexpr std::size_t kLongestTold = 4096, kToldOfLonger = 200;  // of each end

// The name, and those of the folders above it.
std::string joined(const Folder* folder, const std::string& name) {
  std::vector<const std::string*> names{&name};
  std::size_t length = name.size();
  for (; folder != nullptr && folder->parent; folder = folder->parent.get()) {
    names.push_back(&folder->name);
    length += folder->name.size() + 1;
  }
  std::string path;
  if (length <= kLongestTold) {
    path.reserve(length);
    for (std::size_t i = names.size(); i-- > 0;) path += (path.empty() ? "" : "/") + *names[i];
    return path;
  }
  for (std::size_t i = names.size(); i-- > 0 && path.size() < kToldOfLonger;) path += *names[i] + "/";
  std::string tail;
  for (std::size_t i = 0; i < names.size() && tail.size() < kToldOfLonger; ++i) tail.insert(0, "/" + *names[i]);
  return fmt::format("{}...{}", path.substr(0, kToldOfLonger), tail.substr(tail.size() - std::min(tail.size(), kToldOfLonger)));
}

}  // namespace

std::string path_of(const Folder& folder) {
  return folder.parent ? joined(folder.parent.get(), folder.name) : std::string();
}

std::string path_in(const Folder& folder, const std::string& name) { return joined(&folder, name); }

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
  claim();
  bare_ = fresh || is_bare(whole_.get());
  beneath_ = std::make_unique<Beneath>(std::move(fd));
  top_ = std::make_shared<const Folder>(nullptr, "", fresh, place_of(st));
}

// From the nearest folder above it that is open in `near`, or from the target.
os::UniqueFd TargetFolder::opened(const FolderPtr& folder, const OpenFolder& near) const {
  os::UniqueFd fd;
  if (near.folder && near.folder->parent == folder) {
    // What ".." is may have changed: the place says so.
    fd.reset(::openat(near.fd.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat st {};
    if (fd && ::fstat(fd.get(), &st) == 0 && place_of(st) == folder->place) return fd;
  }
  std::vector<const std::string*> names;
  const Folder* from = folder.get();
  for (; from->parent && from != near.folder.get(); from = from->parent.get()) names.push_back(&from->name);
  std::string path;
  for (std::size_t i = names.size(); i-- > 0;) {
    if (!path.empty()) path += '/';
    path += *names[i];
  }
  const int start = from == near.folder.get() ? near.fd.get() : beneath_->root();
  fd = beneath_->open_folder(start, path, O_PATH);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) throw os::system_error(errno, "stat", path_of(*folder));
  if (place_of(st) != folder->place)
    throw Error(ErrorKind::io,
                fmt::format("the folder {} was replaced by another one meanwhile", printable(path_of(*folder))));
  return fd;
}

os::UniqueFd TargetFolder::open_whole(const FolderPtr& folder, OpenFolder& near) const {
  os::UniqueFd fd(::openat(open(folder, near), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw os::system_error(errno, "open", path_of(*folder));
  return fd;
}

struct stat TargetFolder::status() const {
  struct stat st {};
  if (::fstat(whole_.get(), &st) != 0) throw os::system_error(errno, "stat", "the target");
  return st;
}

int TargetFolder::open(const FolderPtr& folder, OpenFolder& cache) const {
  if (cache.folder == folder) return cache.fd.get();
  os::UniqueFd fd = opened(folder, cache);
  cache.fd = std::move(fd);
  cache.folder = folder;
  return cache.fd.get();
}

// Shared by all that restore into it; whoever could have it alone for a moment came first.
void TargetFolder::claim() {
  ::clock_gettime(CLOCK_REALTIME_COARSE, &began_);
  alone_ = ::flock(whole_.get(), LOCK_EX | LOCK_NB) == 0;
  // Another one may be at this very line, and holds it alone for a moment.
  constexpr int kAttempts = 50;
  for (int i = 0; i < kAttempts && ::flock(whole_.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

void TargetFolder::tidy(const FolderPtr& folder, OpenFolder& near) const {
  if (!alone_ || folder->fresh) return;
  try {
    const os::UniqueFd fd = open_whole(folder, near);
    const uid_t user = ::geteuid();
    each_name(fd.get(), ".", [&](const char* name) {
      struct stat st {};
      if (is_name_while_made(name) && ::fstatat(fd.get(), name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode) &&
          (user == 0 || st.st_uid == user) && is_before(st.st_ctim, began_))
        ::unlinkat(fd.get(), name, 0);
      return true;
    });
  } catch (const Error&) {
    // What is to be made in it will say so.
  }
}

void TargetFolder::sync() const {
  if (::syncfs(whole_.get()) != 0) throw os::system_error(errno, "syncfs", "the target");
}

std::string name_while_made() {
  std::uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value))
    throw Error(ErrorKind::io, "getrandom failed");
  return fmt::format("{}{:016x}", kMark, value);
}

namespace {

// Some filesystems cannot refuse what is there by themselves.
bool rename_to_nothing(int folder, const std::string& made, const std::string& name) {
  if (::renameat2(folder, made.c_str(), folder, name.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  struct stat st {};
  if (::fstatat(folder, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
    errno = EEXIST;
    return false;
  }
  return ::renameat(folder, made.c_str(), folder, name.c_str()) == 0;
}

}  // namespace

void put_in_place(const Folder& in, int folder, const std::string& made, const std::string& name) {
  if (made == name) return;
  // Nothing of others is in it; what has this name all the same is a second one that the filesystem takes for it.
  if (in.fresh) {
    if (!rename_to_nothing(folder, made, name)) throw os::system_error(errno, "rename", name);
    return;
  }
  if (::renameat(folder, made.c_str(), folder, name.c_str()) == 0) return;
  if (errno != EISDIR && errno != ENOTEMPTY && errno != EEXIST) throw os::system_error(errno, "rename", name);
  if (::unlinkat(folder, name.c_str(), AT_REMOVEDIR) != 0)
    throw Error(ErrorKind::refused,
                fmt::format("a folder is in its place and cannot be removed: {}", std::strerror(errno)));
  if (::renameat(folder, made.c_str(), folder, name.c_str()) != 0)
    throw os::system_error(errno, "rename", name);
}

}  // namespace respaldo::restore
