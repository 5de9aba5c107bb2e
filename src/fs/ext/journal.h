// The journal of ext3 and ext4 (jbd2): what recovery would write, laid over the device.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/extent.h"
#include "block/device.h"

namespace respaldo::fs::ext {

// A run of the filesystem's blocks.
struct BlockRun {
  std::uint64_t first = 0, count = 0;
};

struct JournalPlace {
  std::uint32_t block_size = 0;         // of the filesystem and its journal: 1024..65536
  std::uint64_t filesystem_blocks = 0;  // blocks past these are never written
  std::vector<BlockRun> blocks;         // the journal's own blocks, in its order
};

struct Replay {
  // Reads as the device would after recovery. Holds no copies: it knows where in the journal a block lies
  // (and whether its first four bytes, the journal's magic number, were taken out). The device itself when
  // there is nothing to replay.
  block::DevicePtr device;
  ExtentSet written;  // bytes of the device that recovery would write, ascending
  std::uint32_t transactions = 0;
  // Set when the journal could not be followed to its end: what is wrong. What came before is replayed, as
  // the kernel does for a last transaction that is torn (which is no problem and is not told).
  std::optional<std::string> problem;
};

// Follows the log from its tail: descriptor, revoke and commit blocks, with checksums v1 (compat), v2 and v3,
// 32- and 64-bit block numbers, async commit. Fast commits after the last transaction are not replayed; when
// there are some, `problem` says so. Bounded by the journal's size. Error(io) when the journal cannot be
// read; Error(corrupt or unsupported) when its superblock is not one that can be followed. Source: linux
// Documentation/filesystems/ext4/journal.rst and fs/jbd2/recovery.c (behaviour), 6.1.
Replay replay_journal(block::DevicePtr device, const JournalPlace& place);

}  // namespace respaldo::fs::ext
