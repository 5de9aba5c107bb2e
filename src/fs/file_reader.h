// A filesystem seen as files, whoever reads it: our own walk of ext (fs/ext), or the kernel through a private
// mount (fs/mounted).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/extent.h"

namespace respaldo::fs {

using NodeIndex = std::uint32_t;
inline constexpr NodeIndex kNoNode = ~NodeIndex{0};

// Something that could not be trusted.
struct Finding {
  std::uint64_t inode = 0;  // 0: the filesystem as a whole
  std::string path;         // empty when the inode has no name that we know
  std::string what;
};

enum class JournalState {
  none,      // no journal, or nothing to recover
  replayed,  // the files are as they are after recovery, as the kernel does it
  partial,   // recovered in part: damaged, or of a kind that is not understood (see the findings)
  external,  // needs recovery from another device: the files are as on the disk
  skipped,   // could not be recovered: the files are as on the disk (see the findings)
};

struct FilesystemFacts {
  std::string type;  // as libblkid names it
  std::string label, uuid;
  std::string_view how = "walked";  // or "mounted"
  std::uint32_t block_size = 0;     // files lie in whole blocks of it
  std::uint64_t size = 0;           // bytes of the device that the filesystem claims
  // Sound files may have more content than the device has bytes: compressed, or shared with each other.
  bool may_exceed_device = false;
  JournalState journal = JournalState::none;
  std::uint32_t encrypted_directories = 0;  // whose names cannot be told
  std::vector<std::string> notes;           // worth telling; nothing is wrong
  std::string mount_options;  // that the superblock itself names: "lazytime,nodelalloc"; ext alone
};

// Nanoseconds are below 1e9.
struct FileTime {
  std::int64_t seconds = 0;  // since 1970; before it, too
  std::uint32_t nanoseconds = 0;
  friend bool operator==(const FileTime&, const FileTime&) = default;
};

// `physical` of content that lies nowhere on the device as it is: compressed, inside metadata, or not known.
inline constexpr std::uint64_t kNoPlace = ~std::uint64_t{0};

// Bytes of a file: where they lie on the device.
struct FileExtent {
  std::uint64_t logical = 0, physical = 0, length = 0;
  bool unwritten = false;  // allocated, reads as zeros
  friend bool operator==(const FileExtent&, const FileExtent&) = default;
};

// As getxattr(2) gives it: "user.x", "security.capability", "system.posix_acl_access" (the kernel's form)...
struct FileXattr {
  std::string name, value;
  friend bool operator==(const FileXattr&, const FileXattr&) = default;
};

// One inode. A value.
struct FileNode {
  std::uint64_t inode = 0;
  std::uint32_t subvolume = 0;  // inode numbers are unique within one
  std::uint32_t mode = 0;       // st_mode
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t links = 0;
  std::uint32_t flags = 0;  // EXT4_*_FL; ext alone
  std::uint64_t size = 0;
  FileTime atime, mtime, ctime;
  std::uint64_t device = 0;  // st_rdev of device nodes
  // What the data is made of is known. False: damaged or encrypted (there is a Finding); extents are then
  // empty.
  bool readable = true;
  bool encrypted = false;
  bool has_inline_data = false;  // all its content lies in the inode: extents() is empty, read() gives it
};

struct DirectoryEntry {
  std::string_view name;  // raw bytes: never empty, "." or ".."; no '/' and no NUL
  NodeIndex node = kNoNode;
};

// The bytes of the device, told apart.
struct SpaceMap {
  // What the filesystem calls free both on the disk and after recovery, and no file or directory claims.
  // Empty when that cannot be told or trusted: then nothing may be dropped.
  ExtentSet free;
  // Bytes whose content differs between the device and what the files are read from: what recovery would
  // write.
  ExtentSet recovered;
};

// A filesystem whose metadata has been read; from then on all methods are const and thread-safe. Offsets and
// lengths are bytes; those of the device count from where the filesystem begins.
class FileReader {
 public:
  virtual ~FileReader() = default;
  FileReader() = default;
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  virtual const FilesystemFacts& facts() const = 0;
  virtual const SpaceMap& space() const = 0;
  virtual const std::vector<Finding>& findings() const = 0;
  virtual std::uint64_t finding_count() const = 0;  // also those past the limit

  virtual std::size_t node_count() const = 0;
  // Those that no name reaches from the root are not files to show.
  virtual bool is_named(NodeIndex index) const = 0;
  virtual FileNode node(NodeIndex index) const = 0;
  virtual NodeIndex root() const = 0;  // kNoNode when even the root directory is damaged

  // Entries of a directory, ascending by name (bytes); none for other nodes. Names point into the reader.
  virtual std::size_t entry_count(NodeIndex directory) const = 0;
  virtual DirectoryEntry entry(NodeIndex directory, std::size_t number) const = 0;
  // One name of the node, from the root: "/etc/passwd". For messages.
  virtual std::string path(NodeIndex index) const = 0;

  // What a regular file's content is made of: ascending, cut at the file's size, merged where both sides
  // touch. The rest are holes.
  virtual std::vector<FileExtent> extents(NodeIndex index) const = 0;
  // Raw bytes of a symbolic link.
  virtual std::string_view link_target(NodeIndex index) const = 0;
  // In the kernel's order. May read the device: Error(io, corrupt).
  virtual std::vector<FileXattr> xattrs(NodeIndex index) const = 0;
  // Content of a regular file; bytes past its size are not touched. Returns the bytes filled. Error(io,
  // corrupt) naming the offset.
  virtual std::size_t read(NodeIndex index, std::uint64_t offset, MutableBytes out) const = 0;
};

}  // namespace respaldo::fs
