// The status lines of the targets that snapshots are made of (kernel:
// Documentation/admin-guide/device-mapper). Sizes are bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace respaldo::engine {

enum class SnapshotState {
  valid,
  invalid,   // an exception had no room, or could not be read or written: the snapshot is lost
  overflow,  // full, but what it has can still be read
  merge_failed,
  unknown,
};
struct SnapshotStatus {
  SnapshotState state = SnapshotState::unknown;
  std::uint64_t used = 0, total = 0, metadata = 0;  // when valid
  // As lvs shows it: hundredths of a percent, never 0 or 100 unless it is empty or full.
  std::uint32_t percent_x100() const;
};
// "16/24576 16", "Invalid", "Overflow", "Merge failed". Absent for anything else.
std::optional<SnapshotStatus> parse_snapshot_status(std::string_view words);

enum class PoolMode { read_write, read_only, out_of_data_space, failed };
struct PoolStatus {
  PoolMode mode = PoolMode::read_write;
  std::uint64_t transaction = 0;
  std::uint64_t used_metadata_blocks = 0, total_metadata_blocks = 0;  // of 4 KiB
  std::uint64_t used_data_blocks = 0, total_data_blocks = 0;          // of the pool's block size
  std::optional<std::uint64_t> held_root;                             // somebody's metadata snapshot
  bool needs_check = false, error_if_no_space = false;
};
// "1 12/1024 100/2048 - rw discard_passdown queue_if_no_space - 1024", "Fail". Absent for anything else.
std::optional<PoolStatus> parse_pool_status(std::string_view words);

// "2048 4095", "0 -", "Fail", "Error".
struct ThinStatus {
  bool failed = false;
  std::uint64_t mapped = 0;
};
std::optional<ThinStatus> parse_thin_status(std::string_view words);

// Of a mirror, which is what pvmove copies with: how many of its regions are the same on all sides.
struct MirrorStatus {
  std::uint64_t done = 0, total = 0;  // total > 0
  bool failed = false;                // a side could not be read or written
};
// "2 254:1 254:2 12/50 1 AA 1 core". Absent for anything else.
std::optional<MirrorStatus> parse_mirror_status(std::string_view words);

}  // namespace respaldo::engine
