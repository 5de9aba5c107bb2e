// ext2, ext3 and ext4 seen as files: a walk of a filesystem on any block::Device, never mounted, never
// written.
//
// What a mount would show is what the walk shows: a journal that needs recovery is replayed on a mapping that
// lies over the device, orphans are gone. Damage is data: what can be trusted is returned, the rest is a
// Finding, and no input costs more memory or time than its own size explains. docs/formats/ext.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/extent.h"
#include "block/device.h"

namespace respaldo::fs {

using NodeIndex = std::uint32_t;
inline constexpr NodeIndex kNoNode = ~NodeIndex{0};

struct ExtOptions {
  std::size_t finding_limit = 1000;  // more are counted, not kept
  unsigned readers = 2;              // threads that read metadata ahead (at least 1)
  std::stop_token stop;              // a stop throws Cancelled
};

// Something that could not be trusted.
struct Finding {
  std::uint32_t inode = 0;  // 0: the filesystem as a whole
  std::string path;         // empty when the inode has no name that we know
  std::string what;
};

enum class JournalState {
  none,      // no journal, or nothing to recover
  replayed,  // the walk shows the state after recovery, as the kernel's
  partial,   // recovered in part: damaged, or of a kind that is not understood (see the findings)
  external,  // needs recovery from another device: the walk shows the disk as it is
};

struct ExtFacts {
  std::string type;  // "ext2", "ext3", "ext4", as libblkid names them
  std::string label, uuid;
  std::uint32_t block_size = 0;
  std::uint64_t cluster_size = 0;
  std::uint64_t size = 0;  // bytes of the device that the filesystem claims
  std::uint64_t inodes_in_use = 0;
  bool marked_with_errors = false;  // the kernel found errors and nobody has run e2fsck since
  JournalState journal = JournalState::none;
  std::uint32_t transactions_replayed = 0;
  std::uint32_t encrypted_directories = 0;  // whose names cannot be told
};

// Nanoseconds are below 1e9.
struct FileTime {
  std::int64_t seconds = 0;  // since 1970; -2^31 to 2^34 - 2^31
  std::uint32_t nanoseconds = 0;
  friend bool operator==(const FileTime&, const FileTime&) = default;
};

// Bytes of a file that lie on the device.
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
  std::uint32_t inode = 0;
  std::uint32_t mode = 0;  // st_mode
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t links = 0;
  std::uint32_t flags = 0;  // EXT4_*_FL
  std::uint64_t size = 0;
  FileTime atime, mtime, ctime;
  std::uint64_t device = 0;  // st_rdev of device nodes
  // What the data is made of is known. False: damaged or encrypted (there is a Finding); extents are then
  // empty.
  bool readable = true;
  bool encrypted = false;
  bool has_inline_data = false;  // see ExtReader::inline_data
};

struct DirectoryEntry {
  std::string_view name;  // raw bytes: never empty, "." or ".."; no '/' and no NUL
  NodeIndex node = kNoNode;
};

// The bytes of the device, told apart.
struct SpaceMap {
  // What the filesystem calls free both on the disk and after recovery, and no file or directory claims.
  // Empty when the bitmaps cannot be trusted (errors marked, recovery not complete): then nothing may be
  // dropped.
  ExtentSet free;
  // Bytes whose content differs between the device and ExtReader::device(): what recovery would write.
  ExtentSet recovered;
};

// A walked filesystem. Everything is read when it opens; afterwards all methods are const and thread-safe.
// Memory: about 130 bytes for each file (name, node, extent) plus distinct extended attributes.
class ExtReader {
 public:
  ~ExtReader();
  ExtReader(const ExtReader&) = delete;
  ExtReader& operator=(const ExtReader&) = delete;

  const ExtFacts& facts() const;
  const SpaceMap& space() const;
  const std::vector<Finding>& findings() const;
  std::uint64_t finding_count() const;  // also those past the limit

  // Nodes are the inodes in use, ascending by inode number. Those that no name reaches from the root
  // (orphans, the journal, values of extended attributes) are not files to show.
  std::size_t node_count() const;
  bool is_named(NodeIndex index) const;
  FileNode node(NodeIndex index) const;
  NodeIndex root() const;  // kNoNode when even the root directory is damaged
  // Absent when the inode is not in use, or not to be trusted.
  std::optional<NodeIndex> find_inode(std::uint32_t inode) const;

  // Entries of a directory, ascending by name (bytes); none for other nodes. Names point into the reader.
  std::size_t entry_count(NodeIndex directory) const;
  DirectoryEntry entry(NodeIndex directory, std::size_t number) const;
  // One name of the node, from the root: "/etc/passwd". For messages.
  std::string path(NodeIndex index) const;

  // Where a regular file's data lies: ascending, cut at the file's size, merged where both sides touch.
  std::vector<FileExtent> extents(NodeIndex index) const;
  // The content of a file that lives in its inode; it may be shorter than the size (the rest is zeros).
  ByteView inline_data(NodeIndex index) const;
  // Raw bytes of a symbolic link.
  std::string_view link_target(NodeIndex index) const;
  // In the kernel's order. May read the device (large values): Error(io, corrupt).
  std::vector<FileXattr> xattrs(NodeIndex index) const;
  bool lost_xattrs(NodeIndex index) const;  // some of them could not be trusted (there is a Finding)

  // Content of a regular file; bytes past its size are not touched. Returns the bytes filled.
  std::size_t read(NodeIndex index, std::uint64_t offset, MutableBytes out) const;

  // The device as it would be after recovery; the device itself when there was nothing to recover.
  const block::DevicePtr& device() const;

 private:
  friend std::unique_ptr<ExtReader> try_open_ext(block::DevicePtr device, const ExtOptions& options);
  struct Impl;
  explicit ExtReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Null when the device holds no ext filesystem. Error(corrupt or unsupported) when it does, and it cannot be
// opened at all; Error(io) when its superblock or descriptors cannot be read.
std::unique_ptr<ExtReader> try_open_ext(block::DevicePtr device, const ExtOptions& options = {});

}  // namespace respaldo::fs
