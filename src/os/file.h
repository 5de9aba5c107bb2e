// Files and folders of the host: whole reads and writes, durable replacement, locks.
//
// Every function retries EINTR and throws Error naming the call and the path (kind io, or not_found for
// ENOENT, no_space for ENOSPC/EDQUOT, refused for EACCES/EPERM/EROFS). Offsets and lengths are bytes.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "os/unique_fd.h"

namespace respaldo::os {

using Path = std::filesystem::path;

// The Error for errno `number` out of `call` on `path`.
Error system_error(int number, std::string_view call, const Path& path,
                   std::source_location where = std::source_location::current());

UniqueFd open_file(const Path& path, int flags, mode_t mode = 0600);
std::optional<UniqueFd> try_open_file(const Path& path, int flags, mode_t mode = 0600);  // absent on ENOENT

// Reads up to out.size() bytes; less only at the end of the file.
std::size_t read_at(int fd, std::uint64_t offset, MutableBytes out, const Path& name);
// Reads exactly out.size() bytes; a short file is Error(corrupt).
void read_exactly_at(int fd, std::uint64_t offset, MutableBytes out, const Path& name);
void write_all_at(int fd, std::uint64_t offset, ByteView bytes, const Path& name);
void write_all(int fd, ByteView bytes, const Path& name);  // at the current position; pipes too
void sync_file(int fd, const Path& name);                  // fdatasync
void sync_folder(const Path& folder);

// Whichever of 0, 1 and 2 is closed is opened on /dev/null, so that what it is used for fails, and no other file gets
// its number and with it the messages. Call first in main.
void keep_standard_descriptors();

// The whole file, at most `limit` bytes (more is Error(corrupt): foreign files never choose our memory).
std::string read_text(const Path& path, std::uint64_t limit = 64U << 20);
std::optional<std::string> try_read_text(const Path& path, std::uint64_t limit = 64U << 20);

// Size of a regular file or a block device.
std::uint64_t device_size(int fd, const Path& name);

// A file that appears whole or not at all: written under a temporary name in the same folder
// (never 64 hexadecimal digits), then fsync, rename, fsync of the folder. Not committed: removed.
// Only a file is replaced: Error(usage) when a device, a folder or the like has the name. A symbolic link's target
// is replaced or made, not the link.
class AtomicFile {
 public:
  enum class Durability { now, later };  // later: the caller syncs the filesystem itself before relying on it

  AtomicFile(Path final_path, mode_t mode);
  AtomicFile(AtomicFile&&) noexcept = default;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  int fd() const { return fd_.get(); }
  void write(ByteView bytes);
  // The owner, mode and extended attributes (access lists with them) of the file that is replaced, as far as we may set
  // them. Nothing when there is none.
  void look_like_replaced();
  void commit(Durability durability = Durability::now);

 private:
  Path final_, temporary_;
  UniqueFd fd_;
};

// An advisory lock on an open file (flock), held until destroyed.
class FileLock {
 public:
  enum class Mode { shared, exclusive };
  // Absent when another process holds a conflicting lock. Keeps its own descriptor.
  static std::optional<FileLock> try_lock(const Path& path, Mode mode, int open_flags);
  int fd() const { return fd_.get(); }

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// A fresh private folder under $TMPDIR (or /tmp), removed with its contents when destroyed.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(std::string_view prefix = "respaldo");
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const Path& path() const { return path_; }

 private:
  Path path_;
};

}  // namespace respaldo::os
