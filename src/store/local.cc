// restic's default layout in a folder.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <mutex>
#include <set>

#include "base/hex.h"
#include "base/printable.h"
#include "os/file.h"
#include "store/backend.h"

namespace respaldo::store {

namespace {

namespace filesystem = std::filesystem;

constexpr mode_t kFolderMode = 0700, kWritingMode = 0600, kFinalMode = 0400;
constexpr std::uint64_t kUnquestioned = 1U << 20;  // bytes to read without a look at the size

const char* folder_of(FileType type) {
  switch (type) {
    case FileType::key:
      return "keys";
    case FileType::lock:
      return "locks";
    case FileType::snapshot:
      return "snapshots";
    case FileType::index:
      return "index";
    case FileType::pack:
      return "data";
    case FileType::config:
      break;
  }
  return ".";
}

bool is_object_name(std::string_view name) { return name.size() == 64 && is_hex(name); }

class LocalBackend final : public Backend {
 public:
  explicit LocalBackend(os::Path root) : root_(std::move(root)) {}

  std::string location() const override { return root_.native(); }

  void create() override {
    std::error_code ignored;
    if (filesystem::exists(root_ / "config", ignored) || !list(FileType::key).empty() ||
        !list(FileType::snapshot).empty())
      throw Error(ErrorKind::refused, fmt::format("{} holds a repository already", printable(root_.native())),
                  "use it as it is, or choose another folder");
    make_folder(root_);
    for (const FileType type :
         {FileType::pack, FileType::index, FileType::key, FileType::lock, FileType::snapshot})
      make_folder(root_ / folder_of(type));
    for (int shard = 0; shard < 256; ++shard) make_folder(root_ / "data" / fmt::format("{:02x}", shard));
    os::sync_folder(root_ / "data");
    os::sync_folder(root_);
  }

  void save(const Handle& handle, std::span<const ByteView> parts, Durability durability) override {
    const os::Path path = path_of(handle);
    if (handle.type == FileType::pack) make_folder(path.parent_path());
    os::AtomicFile file(path, kWritingMode);
    for (const ByteView part : parts) file.write(part);
    ::fchmod(file.fd(), kFinalMode);
    file.commit(durability == Durability::now ? os::AtomicFile::Durability::now
                                              : os::AtomicFile::Durability::later);
    if (durability == Durability::at_sync) {
      std::lock_guard lock(mutex_);
      unsynced_ = true;
    }
  }

  void sync() override {
    {
      std::lock_guard lock(mutex_);
      if (!unsynced_) return;
      unsynced_ = false;
    }
    // One flush of the filesystem for all packs of a run, instead of two for each.
    const os::UniqueFd fd = os::open_file(root_, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (::syncfs(fd.get()) != 0) {
      const int number = errno;
      std::lock_guard lock(mutex_);
      unsynced_ = true;
      throw os::system_error(number, "syncfs", root_);
    }
  }

  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    const os::Path path = path_of(handle);
    const os::UniqueFd fd = open(handle, path);
    // An index may claim anything: memory is taken for what is there.
    if (length > kUnquestioned)
      if (const std::uint64_t size = os::device_size(fd.get(), path); offset > size || length > size - offset)
        throw Error(ErrorKind::corrupt, fmt::format("{} ends at byte {}: there are no {} bytes at byte {}",
                                                    handle.str(), size, length, offset));
    Bytes bytes(length);
    os::read_exactly_at(fd.get(), offset, bytes, path);
    return bytes;
  }

  Bytes load_all(const Handle& handle, std::uint64_t limit) override {
    const os::Path path = path_of(handle);
    const os::UniqueFd fd = open(handle, path);
    const std::uint64_t size = os::device_size(fd.get(), path);
    if (size > limit)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{} has {} bytes, more than can be right", handle.str(), size));
    Bytes bytes(size);
    os::read_exactly_at(fd.get(), 0, bytes, path);
    return bytes;
  }

  std::optional<FileInfo> stat(const Handle& handle) override {
    struct stat st {};
    const os::Path path = path_of(handle);
    if (::stat(path.c_str(), &st) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
      throw os::system_error(errno, "stat", path);
    }
    return FileInfo{handle.name, static_cast<std::uint64_t>(st.st_size)};
  }

  std::vector<FileInfo> list(FileType type) override {
    std::vector<FileInfo> found;
    if (type == FileType::config) {
      if (auto config = stat({FileType::config, ""})) found.push_back(*config);
      return found;
    }
    const os::Path folder = root_ / folder_of(type);
    if (type != FileType::pack) {
      list_folder(folder, found);
      return found;
    }
    std::error_code error;
    for (filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().native();
      if (name.size() == 2 && is_hex(name)) list_folder(it->path(), found);
    }
    check_listing(error, folder);
    return found;
  }

  void remove(const Handle& handle) override {
    const os::Path path = path_of(handle);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw os::system_error(errno, "unlink", path);
    std::lock_guard lock(mutex_);
    unsynced_ = true;
  }

  bool is_permanent(const Error& error) const override { return error.kind() != ErrorKind::io; }

 private:
  os::Path path_of(const Handle& handle) const {
    if (handle.type == FileType::config) return root_ / "config";
    if (!is_object_name(handle.name))
      throw Error(ErrorKind::internal, fmt::format("'{}' is not an object's name", printable(handle.name)));
    const os::Path folder = root_ / folder_of(handle.type);
    return handle.type == FileType::pack ? folder / handle.name.substr(0, 2) / handle.name
                                         : folder / handle.name;
  }

  static os::UniqueFd open(const Handle& handle, const os::Path& path) {
    auto fd = os::try_open_file(path, O_RDONLY | O_CLOEXEC);
    if (!fd)
      throw Error(ErrorKind::not_found,
                  fmt::format("{} is missing ({})", handle.str(), printable(path.native())));
    return std::move(*fd);
  }

  static void make_folder(const os::Path& folder) {
    if (::mkdir(folder.c_str(), kFolderMode) == 0) return;
    const int number = errno;
    std::error_code ignored;
    if (number == EEXIST && filesystem::is_directory(folder, ignored)) return;
    throw os::system_error(number, "mkdir", folder);
  }

  static void check_listing(const std::error_code& error, const os::Path& folder) {
    if (error && error != std::errc::no_such_file_or_directory)
      throw os::system_error(error.value(), "reading the folder", folder);
  }

  static void list_folder(const os::Path& folder, std::vector<FileInfo>& found) {
    std::error_code error;
    for (filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().native();
      if (!is_object_name(name)) continue;
      struct stat st {};
      if (::stat(it->path().c_str(), &st) != 0) {
        if (errno == ENOENT) continue;  // a lock that was just removed
        throw os::system_error(errno, "stat", it->path());
      }
      if (S_ISREG(st.st_mode)) found.push_back({name, static_cast<std::uint64_t>(st.st_size)});
    }
    check_listing(error, folder);
  }

  const os::Path root_;
  std::mutex mutex_;
  bool unsynced_ = false;
};

}  // namespace

std::unique_ptr<Backend> open_local(const std::string& folder) {
  return std::make_unique<LocalBackend>(folder);
}

}  // namespace respaldo::store
