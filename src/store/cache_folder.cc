#include "store/cache_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <tuple>
#include <vector>

#include "base/hex.h"
#include "base/printable.h"
#include "crypto/crypto.h"
#include "store/layout.h"

namespace respaldo::store {

namespace {

namespace filesystem = std::filesystem;

constexpr FileType kTypes[] = {FileType::snapshot, FileType::index, FileType::pack};
constexpr std::uint64_t kLongestObject = 512U << 20;
constexpr mode_t kFolderMode = 0700, kFileMode = 0600;
// https://bford.info/cachedir/
constexpr std::string_view kTag =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder holds copies that respaldo makes again when they are gone: leave it out of backups.\n";
constexpr std::string_view kVersion = "1";  // of restic's layout of a cache

void make_folder(const os::Path& folder) {
  if (::mkdir(folder.c_str(), kFolderMode) != 0 && errno != EEXIST)
    throw os::system_error(errno, "mkdir", folder);
}
void put_file(const os::Path& path, ByteView bytes) {
  // A file that a power cut ruins does not fit its name.
  os::AtomicFile file(path, kFileMode);
  file.write(bytes);
  file.commit(os::AtomicFile::Durability::later);
}
void put_if_missing(const os::Path& path, std::string_view text) {
  if (::access(path.c_str(), F_OK) != 0) put_file(path, as_bytes(text));
}

// What others may write to is not trusted with what is written and removed there. Links are no folders here.
bool is_own(const struct stat& st) { return S_ISDIR(st.st_mode) && (st.st_uid == ::geteuid() || st.st_uid == 0); }
bool is_own_folder(const os::Path& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 && is_own(st);
}
void make_own_folder(const os::Path& folder) {
  make_folder(folder);
  if (!is_own_folder(folder))
    throw Error(ErrorKind::refused, fmt::format("{} is no folder of this user: remove it, or name another place with --cache-dir",
                                                printable(folder.native())));
}

// A link could lead anywhere.
std::optional<os::UniqueFd> open_cached(const os::Path& path) {
  return os::try_open_file(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

struct Found {
  os::Path path;
  std::uint64_t size;
  timespec used;
};

template <class Visit>
void for_each_file(const os::Path& folder, Visit visit) {
  if (!is_own_folder(folder)) return;
  std::error_code error;
  for (filesystem::directory_iterator shard(folder, error), end; !error && shard != end;
       shard.increment(error)) {
    if (!is_own_folder(shard->path())) continue;
    std::error_code inner;
    for (filesystem::directory_iterator file(shard->path(), inner); !inner && file != end;
         file.increment(inner)) {
      struct stat st {};
      const std::string name = file->path().filename().native();
      if ((is_object_name(name) || is_unfinished(name)) && ::lstat(file->path().c_str(), &st) == 0 && S_ISREG(st.st_mode))
        visit(file->path(), st);
    }
  }
}

std::vector<Found> all_files(const os::Path& root) {
  std::vector<Found> found;
  std::error_code error;
  for (filesystem::directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
    if (!is_object_name(it->path().filename().native()) || !is_own_folder(it->path())) continue;
    for (const FileType type : kTypes)
      for_each_file(it->path() / folder_of(type), [&](const os::Path& path, const struct stat& st) {
        found.push_back({path, static_cast<std::uint64_t>(st.st_size), st.st_mtim});
      });
  }
  return found;
}

}  // namespace

void make_folders(const os::Path& folder) {
  std::error_code error;
  if (filesystem::is_directory(folder, error)) return;
  if (folder.has_parent_path() && folder.parent_path() != folder) make_folders(folder.parent_path());
  make_folder(folder);
}

CacheFolder::CacheFolder(os::Path root, const std::string& repository_id, std::uint64_t limit)
    : root_(std::move(root)), folder_(root_ / repository_id), limit_(limit) {
  if (!is_object_name(repository_id)) throw Error(ErrorKind::corrupt, "the repository's id is not one");
  make_folders(root_);
  struct stat st {};
  if (::stat(root_.c_str(), &st) != 0 || !is_own(st))  // it may be a link
    throw Error(ErrorKind::refused, "it belongs to another user: name another place with --cache-dir");
  make_own_folder(folder_);
  put_if_missing(root_ / "CACHEDIR.TAG", kTag);
  put_if_missing(folder_ / "CACHEDIR.TAG", kTag);
  put_if_missing(folder_ / "version", kVersion);
  for (const FileType type : kTypes) make_own_folder(folder_ / folder_of(type));
}

os::Path CacheFolder::path_of(const Handle& handle) const {
  if (!is_object_name(handle.name)) throw Error(ErrorKind::internal, "not an object's name");
  return folder_ / folder_of(handle.type) / handle.name.substr(0, 2) / handle.name;
}

void CacheFolder::used(const os::Path& path) {
  const timespec now[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
  ::utimensat(AT_FDCWD, path.c_str(), now, AT_SYMLINK_NOFOLLOW);
}

std::optional<Bytes> CacheFolder::get(const Handle& handle) {
  const os::Path path = path_of(handle);
  const auto fd = open_cached(path);
  if (!fd) return std::nullopt;
  const std::uint64_t size = os::device_size(fd->get(), path);
  if (size <= kLongestObject) {
    Bytes bytes(size);
    if (os::read_at(fd->get(), 0, bytes, path) == size && to_hex(crypto::sha256(bytes)) == handle.name) {
      used(path);
      if (handle.type == FileType::pack) {
        std::lock_guard lock(mutex_);
        proven_.insert(handle.name);
      }
      return bytes;
    }
  }
  drop(handle);
  return std::nullopt;
}

std::optional<Bytes> CacheFolder::get_range(const Handle& handle, std::uint64_t offset,
                                            std::uint64_t length) {
  {
    std::lock_guard lock(mutex_);
    if (!proven_.contains(handle.name)) return std::nullopt;
  }
  const os::Path path = path_of(handle);
  const auto fd = open_cached(path);
  if (!fd) return std::nullopt;
  const std::uint64_t size = os::device_size(fd->get(), path);
  if (offset > size || length > size - offset) return std::nullopt;
  Bytes bytes(length);
  os::read_exactly_at(fd->get(), offset, bytes, path);
  return bytes;
}

bool CacheFolder::put(const Handle& handle, ByteView bytes) {
  // One object must not push out all others.
  if (bytes.size() > kLongestObject || bytes.size() > limit_ / 4) return false;
  make_room(bytes.size());
  const os::Path path = path_of(handle);
  make_own_folder(path.parent_path());
  put_file(path, bytes);
  std::lock_guard lock(mutex_);
  if (handle.type == FileType::pack) proven_.insert(handle.name);
  return true;
}

void CacheFolder::drop(const Handle& handle) {
  const os::Path path = path_of(handle);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw os::system_error(errno, "unlink", path);
  std::lock_guard lock(mutex_);
  proven_.erase(handle.name);
}

void CacheFolder::keep_only(FileType type, const std::function<bool(const std::string&)>& keep) {
  for_each_file(folder_ / folder_of(type), [&](const os::Path& path, const struct stat& st) {
    const std::string name = path.filename().native();
    // What another process writes has no such name yet.
    if (is_unfinished(name) ? std::time(nullptr) - st.st_mtim.tv_sec > kAbandoned : !keep(name)) ::unlink(path.c_str());
  });
}

void CacheFolder::make_room(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  if (total_ && *total_ + bytes <= limit_) {
    *total_ += bytes;
    return;
  }
  // Others may have added and removed: counted anew.
  std::vector<Found> files = all_files(root_);
  std::uint64_t total = 0;
  for (const Found& file : files) total += file.size;
  if (total + bytes > limit_) {
    std::ranges::sort(files, [](const Found& a, const Found& b) {
      return std::tie(a.used.tv_sec, a.used.tv_nsec) < std::tie(b.used.tv_sec, b.used.tv_nsec);
    });
    // Some more than needed, so that this is seldom.
    const std::uint64_t aim = limit_ - limit_ / 8;
    for (const Found& file : files) {
      if (total + bytes <= aim) break;
      if (::unlink(file.path.c_str()) == 0 || errno == ENOENT) total -= file.size;
    }
  }
  total_ = total + bytes;
}

}  // namespace respaldo::store
