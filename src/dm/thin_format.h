// On-disk layout of dm-thin's metadata. docs/formats/dm-thin.md
#pragma once

#include <cstdint>

#include "base/endian.h"

namespace respaldo::dm {

inline constexpr std::uint64_t kThinBlock = 4096;  // bytes of a metadata block
inline constexpr std::uint64_t kThinMagic = 27022010;
inline constexpr std::uint32_t kThinSuperblockSalt = 160774, kThinNodeSalt = 121107;
inline constexpr std::uint32_t kThinNeedsCheck = 1;  // bit of the superblock's flags
inline constexpr std::uint32_t kThinInternalNode = 1, kThinLeafNode = 2;

struct ThinSpaceMapRoot {
  Le64 blocks, allocated, bitmap_root, count_root;
  std::uint8_t unused[96];
};
struct ThinSuperblock {
  Le32 checksum, flags;
  Le64 block;
  std::uint8_t uuid[16];
  Le64 magic;
  Le32 version, time;
  Le64 transaction_id, held_root;
  ThinSpaceMapRoot data, metadata;
  Le64 mapping_root, details_root;
  Le32 data_block_sectors, metadata_block_sectors;
  Le64 metadata_blocks;
  Le32 compatible, compatible_read_only, incompatible;
};
struct ThinNodeHeader {
  Le32 checksum, flags;
  Le64 block;
  Le32 entries, capacity, value_size, padding;
};
struct ThinDetails {
  Le64 mapped_blocks, transaction_id;
  Le32 creation_time, snapshotted_time;
};
static_assert(sizeof(ThinSuperblock) == 364 && alignof(ThinSuperblock) == 1);
static_assert(sizeof(ThinNodeHeader) == 32 && sizeof(ThinDetails) == 24);

}  // namespace respaldo::dm
