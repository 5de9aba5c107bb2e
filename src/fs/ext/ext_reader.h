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

#include "block/device.h"
#include "fs/file_reader.h"

namespace respaldo::fs {

struct ExtOptions {
  std::size_t finding_limit = 1000;  // more are counted, not kept
  unsigned readers = 2;              // threads that read metadata ahead (at least 1)
  std::stop_token stop;              // a stop throws Cancelled
};

struct ExtFacts : FilesystemFacts {
  std::uint64_t cluster_size = 0;
  std::uint64_t inodes_in_use = 0;
  bool marked_with_errors = false;  // the kernel found errors and nobody has run e2fsck since
  std::uint32_t transactions_replayed = 0;
};

// A walked filesystem. Everything is read when it opens; afterwards all methods are const and thread-safe.
// Memory: about 130 bytes for each file (name, node, extent) plus distinct extended attributes.
class ExtReader final : public FileReader {
 public:
  ~ExtReader() override;

  const ExtFacts& facts() const override;
  // Free space is not told when the bitmaps cannot be trusted: errors marked, recovery not complete, damage
  // anywhere (bitmaps that contradict the files are damage, too).
  const SpaceMap& space() const override;
  const std::vector<Finding>& findings() const override;
  std::uint64_t finding_count() const override;

  // Nodes are the inodes in use, ascending by inode number. Those that no name reaches from the root are
  // orphans, the journal, values of extended attributes.
  std::size_t node_count() const override;
  bool is_named(NodeIndex index) const override;
  FileNode node(NodeIndex index) const override;
  NodeIndex root() const override;
  // Absent when the inode is not in use, or not to be trusted.
  std::optional<NodeIndex> find_inode(std::uint32_t inode) const;

  std::size_t entry_count(NodeIndex directory) const override;
  DirectoryEntry entry(NodeIndex directory, std::size_t number) const override;
  std::string path(NodeIndex index) const override;

  std::vector<FileExtent> extents(NodeIndex index) const override;
  // The content of a file that lives in its inode; it may be shorter than the size (the rest is zeros).
  ByteView inline_data(NodeIndex index) const;
  std::string_view link_target(NodeIndex index) const override;
  std::vector<FileXattr> xattrs(NodeIndex index) const override;
  bool lost_xattrs(NodeIndex index) const;  // some of them could not be trusted (there is a Finding)

  std::size_t read(NodeIndex index, std::uint64_t offset, MutableBytes out) const override;

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
