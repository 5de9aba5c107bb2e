// libext2fs on a block::Device: superblock, group descriptors, checksums.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "block/device.h"

namespace respaldo::fs::ext {

// An opened ext2_filsys, read-only (every write is refused). The superblock is checked before libext2fs sees
// it: what it claims fits the device. Keeps a share of the device. Const methods only look and are
// thread-safe; libext2fs itself reads nothing after construction.
class Handle {
 public:
  // Absent when there is no ext filesystem. Error(corrupt, unsupported, io).
  static std::optional<Handle> try_open(block::DevicePtr device);

  const block::Device& device() const { return *device_; }
  const block::DevicePtr& device_ptr() const { return device_; }
  ext2_filsys fs() const { return fs_.get(); }
  const ext2_super_block& super() const { return *fs_->super; }

  std::uint32_t block_size() const { return fs_->blocksize; }
  std::uint64_t block_count() const { return blocks_; }
  std::uint32_t first_data_block() const { return fs_->super->s_first_data_block; }
  std::uint32_t blocks_per_cluster() const { return 1U << fs_->cluster_ratio_bits; }
  std::uint32_t group_count() const { return fs_->group_desc_count; }
  std::uint32_t inode_count() const { return fs_->super->s_inodes_count; }
  std::uint32_t inodes_per_group() const { return fs_->super->s_inodes_per_group; }
  std::uint32_t inode_size() const { return inode_size_; }
  std::uint32_t first_inode() const { return first_inode_; }  // smaller ones are reserved, except the root
  bool has_checksums() const { return checksums_; }
  std::uint32_t seed() const { return fs_->csum_seed; }

  // [block, block + count) are blocks that can hold something other than the superblock's.
  bool is_data_range(std::uint64_t block, std::uint64_t count) const {
    return block > first_data_block() && block < blocks_ && count <= blocks_ - block;
  }
  std::uint64_t group_first_block(std::uint32_t group) const {
    return first_data_block() + std::uint64_t{group} * fs_->super->s_blocks_per_group;
  }
  std::uint64_t group_end_block(std::uint32_t group) const {
    return group + 1 == group_count() ? blocks_ : group_first_block(group + 1);
  }
  // Whether the group's descriptor passes its checksum (true where there are none).
  bool group_is_sound(std::uint32_t group) const;
  std::uint64_t inode_table(std::uint32_t group) const;  // 0: out of range
  std::uint32_t inode_table_blocks() const { return fs_->inode_blocks_per_group; }
  // Inodes at the start of the group's table that may be in use.
  std::uint32_t inodes_used(std::uint32_t group) const;

 private:
  struct Close {
    void operator()(ext2_filsys fs) const;
  };
  explicit Handle(block::DevicePtr device) : device_(std::move(device)) {}
  block::DevicePtr device_;
  std::unique_ptr<struct_ext2_filsys, Close> fs_;
  std::uint64_t blocks_ = 0;
  std::uint32_t inode_size_ = 0, first_inode_ = 0;
  bool checksums_ = false;
};

inline std::uint32_t crc32c(std::uint32_t start, ByteView bytes) {
  return ext2fs_crc32c_le(start, bytes.data(), bytes.size());
}

}  // namespace respaldo::fs::ext
