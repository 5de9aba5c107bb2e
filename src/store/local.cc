// restic's default layout in a folder.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <map>
#include <mutex>

#include "base/printable.h"
#include "os/file.h"
#include "os/kernel_files.h"
#include "store/backend.h"
#include "store/layout.h"

namespace respaldo::store {

namespace {

namespace filesystem = std::filesystem;

constexpr mode_t kFolderMode = 0700, kWritingMode = 0600, kFinalMode = 0400;
constexpr std::size_t kMediumPiece = 4U << 20;
constexpr ssize_t kDirectBlock = 4096;             // no O_DIRECT asks for more
constexpr std::uint64_t kUnquestioned = 1U << 20;  // bytes to read without a look at the size

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
    tidy();
    const os::Path path = path_of(handle);
    if (handle.type >= FileType::parity) make_durable_folder(root_ / "parity");
    if (handle.type == FileType::parity || handle.type == FileType::parity_group)
      make_durable_folder(root_ / folder_of(handle.type));
    if (is_sharded(handle.type)) make_durable_folder(path.parent_path());
    if (durability == Durability::at_sync) watch(path.parent_path());
    os::AtomicFile file(path, kWritingMode);
    for (const ByteView part : parts) file.write(part);
    ::fchmod(file.fd(), kFinalMode);
    if (durability == Durability::proven) {
      os::sync_file(file.fd(), path);
      require_on_medium(file.fd(), path, parts);
    } else if (durability == Durability::at_sync && !syncfs_tells_errors_) {
      os::sync_file(file.fd(), path);
    }
    file.commit(durability == Durability::at_sync ? os::AtomicFile::Durability::later
                                                  : os::AtomicFile::Durability::now);
    if (durability == Durability::at_sync) {
      std::lock_guard lock(mutex_);
      unsynced_ = true;
    }
  }

  void sync() override {
    std::lock_guard one(syncing_);  // who comes second learns how it went
    std::vector<int> watched;
    {
      std::lock_guard lock(mutex_);
      if (lost_) throw *lost_;
      if (!unsynced_) return;
      unsynced_ = false;
      for (const auto& [device, fd] : watched_) watched.push_back(fd.get());
    }
    // One flush of each filesystem for all packs of a run, instead of two for each.
    for (const int fd : watched) {
      if (::syncfs(fd) == 0) continue;
      const int number = errno;
      std::lock_guard lock(mutex_);
      lost_ = os::system_error(number, "syncfs", root_)
                  .set_hint("something of what was written is lost: see what the kernel says of the disk, then `respaldo "
                            "check --read-data`, and run again");
      throw *lost_;
    }
  }

  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    const os::Path path = path_of(handle);
    const os::UniqueFd fd = open(handle, path);
    // An index may claim anything: memory is taken for what is there.
    if (length > kUnquestioned || offset > std::uint64_t{1} << 62)
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
    if (only_name_of(type) != nullptr) {
      if (auto only = stat({type, ""})) found.push_back(*only);
      return found;
    }
    const os::Path folder = root_ / folder_of(type);
    if (!is_sharded(type)) {
      list_folder(folder, found);
      return each_once(std::move(found));
    }
    std::error_code error;
    for (filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().native();
      if (name.size() == 2 && is_hex(name)) list_folder(it->path(), found);
    }
    check_listing(error, folder);
    return each_once(std::move(found));
  }

  void remove(const Handle& handle) override {
    const os::Path path = path_of(handle);
    if (!watch(path.parent_path())) return;
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw os::system_error(errno, "unlink", path);
    tidy();
    std::lock_guard lock(mutex_);
    unsynced_ = true;
  }

  Medium read_from_medium(const Handle& handle, const std::function<void(ByteView)>& piece) override {
    const os::Path path = path_of(handle);
    return read_medium(
        path, [&] { return open(handle, path); }, piece);
  }

  bool is_permanent(const Error& error) const override { return error.kind() != ErrorKind::io; }

 private:
  // Before the first change that sync() stands for. A descriptor is told, once, of every lost write since it was opened;
  // of one that another run's syncfs was told before, a new descriptor is told nothing. False when there is no such
  // folder. Parts of a repository may lie on other filesystems.
  bool watch(const os::Path& folder) {
    struct stat st {};
    if (::stat(folder.c_str(), &st) != 0) {
      if (errno == ENOENT) return false;
      throw os::system_error(errno, "stat", folder);
    }
    std::lock_guard lock(mutex_);
    if (!watched_.contains(st.st_dev)) watched_.emplace(st.st_dev, os::open_file(folder, O_RDONLY | O_DIRECTORY));
    return true;
  }

  // `reopen` opens the same file for ordinary reading.
  static Medium read_medium(const os::Path& path, const std::function<os::UniqueFd()>& reopen,
                            const std::function<void(ByteView)>& piece) {
    // Not every filesystem takes O_DIRECT; some only say so at the first read.
    os::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
    Medium medium = Medium::direct;
    const auto read_ordinarily = [&] {
      fd = reopen();
      medium = ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED) == 0 ? Medium::dropped : Medium::unknown;
    };
    if (!fd) read_ordinarily();
    Bytes buffer(kMediumPiece);
    for (std::uint64_t at = 0;;) {
      const ssize_t length = ::pread(fd.get(), buffer.data(), buffer.size(), static_cast<off_t>(at));
      if (length < 0 && errno == EINTR) continue;
      if (length < 0 && errno == EINVAL && medium == Medium::direct && at == 0) {
        read_ordinarily();
        continue;
      }
      if (length < 0) throw os::system_error(errno, "read", path).add_context(fmt::format("at byte {}", at));
      if (length > 0) piece(buffer.view(0, static_cast<std::size_t>(length)));
      at += static_cast<std::uint64_t>(length);
      // A length that is no multiple of the block is the end of the file: O_DIRECT takes no offset after it.
      if (length % kDirectBlock != 0 || length == 0) return medium;
    }
  }

  // The file that was just written and synced is read back and compared.
  static void require_on_medium(int fd, const os::Path& name, std::span<const ByteView> parts) {
    const os::Path path = fmt::format("/proc/self/fd/{}", fd);
    bool same = true;
    std::size_t part = 0, at = 0;
    read_medium(
        path, [&] { return os::open_file(path, O_RDONLY | O_CLOEXEC); },
        [&](ByteView piece) {
          while (same && !piece.empty()) {
            while (part < parts.size() && at == parts[part].size()) ++part, at = 0;
            same = part < parts.size();
            if (!same) break;
            const std::size_t length = std::min(piece.size(), parts[part].size() - at);
            same = std::memcmp(piece.data(), parts[part].data() + at, length) == 0;
            piece = piece.subspan(length);
            at += length;
          }
        });
    while (part < parts.size() && at == parts[part].size()) ++part, at = 0;
    if (!same || part != parts.size())
      throw Error(
          ErrorKind::io,
          fmt::format("{} did not read back from the medium as it was written", printable(name.native())),
          "the disk that holds the repository fails: copy the repository to another one");
  }

  os::Path path_of(const Handle& handle) const {
    if (const char* only = only_name_of(handle.type)) return root_ / folder_of(handle.type) / only;
    if (!is_object_name(handle.name))
      throw Error(ErrorKind::internal, fmt::format("'{}' is not an object's name", printable(handle.name)));
    const os::Path folder = root_ / folder_of(handle.type);
    return is_sharded(handle.type) ? folder / handle.name.substr(0, 2) / handle.name : folder / handle.name;
  }

  static os::UniqueFd open(const Handle& handle, const os::Path& path) {
    auto fd = os::try_open_file(path, O_RDONLY | O_CLOEXEC);
    if (!fd)
      throw Error(ErrorKind::not_found,
                  fmt::format("{} is missing ({})", handle.str(), printable(path.native())));
    return std::move(*fd);
  }

  // True when it was not there before.
  static bool make_folder(const os::Path& folder) {
    if (::mkdir(folder.c_str(), kFolderMode) == 0) return true;
    const int number = errno;
    std::error_code ignored;
    if (number == EEXIST && filesystem::is_directory(folder, ignored)) return false;
    throw os::system_error(number, "mkdir", folder);
  }
  static void make_durable_folder(const os::Path& folder) {
    if (make_folder(folder)) os::sync_folder(folder.parent_path());
  }

  static void check_listing(const std::error_code& error, const os::Path& folder) {
    if (error && error != std::errc::no_such_file_or_directory)
      throw os::system_error(error.value(), "reading the folder", folder);
  }

  void list_folder(const os::Path& folder, std::vector<FileInfo>& found) {
    std::error_code error;
    for (filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().native();
      const bool unfinished = is_unfinished(name);
      if (!unfinished && !is_object_name(name)) continue;
      struct stat st {};
      if (::stat(it->path().c_str(), &st) != 0) {
        if (errno == ENOENT) continue;  // a lock that was just removed
        throw os::system_error(errno, "stat", it->path());
      }
      if (!S_ISREG(st.st_mode)) continue;
      keep_time(st.st_mtime, unfinished ? it->path() : os::Path());
      if (!unfinished) found.push_back({name, static_cast<std::uint64_t>(st.st_size)});
    }
    check_listing(error, folder);
  }

  // `unfinished` was left by a run that was killed, when nothing was written to it for an hour, by the times of the
  // filesystem (that may be another machine's) and by our clock.
  void keep_time(std::time_t changed, const os::Path& unfinished) {
    std::lock_guard lock(mutex_);
    newest_ = std::max(newest_, changed);
    if (!unfinished.empty() && newest_ - changed > kAbandoned && std::time(nullptr) - changed > kAbandoned)
      strays_.push_back(unfinished);
  }
  // By those who change the repository: who only reads leaves it as it is.
  void tidy() {
    std::vector<os::Path> strays;
    {
      std::lock_guard lock(mutex_);
      strays.swap(strays_);
    }
    for (const os::Path& stray : strays) ::unlink(stray.c_str());
  }

  const os::Path root_;
  const bool syncfs_tells_errors_ = os::kernel_is_since("5.8");
  std::mutex syncing_, mutex_;
  std::vector<os::Path> strays_;
  std::time_t newest_ = 0;  // when something was changed last, of all that was listed
  bool unsynced_ = false;
  std::map<dev_t, os::UniqueFd> watched_;  // never one less
  std::optional<Error> lost_;              // told once by the kernel: no later sync makes it good
};

}  // namespace

std::unique_ptr<Backend> open_local(const std::string& folder) {
  return std::make_unique<LocalBackend>(folder);
}

}  // namespace respaldo::store
