// dm-thin metadata, read-only. Format: docs/formats/dm-thin.md.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "block/device.h"

namespace respaldo::dm {

struct ThinDevice {
  std::uint32_t id = 0;
  std::uint64_t mapped_blocks = 0, transaction_id = 0;
  std::uint32_t creation_time = 0, snapshotted_time = 0;
};

// A run of virtual blocks that lie contiguously in the data device.
struct ThinRun {
  std::uint64_t virtual_block = 0, data_block = 0, length = 0;
  friend bool operator==(const ThinRun&, const ThinRun&) = default;
};

// A stretch of virtual blocks in which two thin devices are not the same: mapped in one of them only, or to
// different data blocks (whose bytes may still be equal).
enum class ThinDifferenceKind { left_only, right_only, different };
struct ThinDifference {
  std::uint64_t virtual_block = 0, length = 0;
  ThinDifferenceKind kind = ThinDifferenceKind::different;
  friend bool operator==(const ThinDifference&, const ThinDifference&) = default;
};

// Which state of the metadata is read.
enum class ThinRoot {
  committed,  // the last committed one: of a pool that is not active
  held,       // the metadata snapshot of a live pool (reserve_metadata_snap), which does not move
};

// An opened pool's metadata. Every block that is read is checked (checksum,
// own block number, bounds, depth; loops are Error(corrupt)). A pool with needs_check set, or unknown
// incompatible features, is Error(unsupported) that says to run thin_repair. Thread-safe.
class ThinMetadata {
 public:
  // Error(not_found) when there is no metadata snapshot and ThinRoot::held is asked for.
  explicit ThinMetadata(block::DevicePtr metadata, ThinRoot root = ThinRoot::committed);
  ~ThinMetadata();
  ThinMetadata(ThinMetadata&&) noexcept;

  std::uint64_t block_size() const;  // data block, bytes
  std::uint64_t transaction_id() const;
  std::uint64_t data_blocks() const;       // size of the data device in blocks
  std::uint64_t data_blocks_used() const;  // now, whichever root is read
  std::uint64_t metadata_blocks() const;   // 4 KiB each
  std::uint64_t metadata_blocks_used() const;
  std::vector<ThinDevice> devices() const;
  // The mappings of one device, ascending, coalesced. Error(corrupt) when the device is not in the pool.
  std::vector<ThinRun> mappings(std::uint32_t device_id) const;
  // Where two devices are not the same, ascending, coalesced as thin_delta does. What both trees share is not
  // read: the cost follows what is different. Errors as mappings().
  std::vector<ThinDifference> differences(std::uint32_t left, std::uint32_t right) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace respaldo::dm
