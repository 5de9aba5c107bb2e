// A backup's own object. restic calls it a snapshot; so does this room.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "repo/id.h"
#include "repo/tree.h"

namespace respaldo::repo {

struct SnapshotSummary {
  Timestamp backup_start, backup_end;
  std::uint64_t files_new = 0, files_changed = 0, files_unmodified = 0;
  std::uint64_t dirs_new = 0, dirs_changed = 0, dirs_unmodified = 0;
  std::uint64_t data_blobs = 0, tree_blobs = 0;
  std::uint64_t data_added = 0, data_added_packed = 0;
  std::uint64_t total_files_processed = 0, total_bytes_processed = 0;
};

struct Snapshot {
  Timestamp time;
  std::optional<SnapshotId> parent;
  BlobId tree;
  std::vector<std::string> paths;
  std::string hostname, username;
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::string> excludes, tags;
  std::optional<SnapshotId> original;
  std::string program_version;
  std::optional<SnapshotSummary> summary;
  // Of ours: something is known to be missing. restic ignores the field, and drops it where it rewrites the backup's object.
  bool incomplete = false;
};

// Seconds that two clocks may differ, by a wrong time zone for example, without harm to anybody.
inline constexpr std::int64_t kClockTolerance = 24 * 3600;
// 2026-11-01: there was no respaldo before. A clock that shows less has lost its battery.
inline constexpr std::int64_t kFirstRelease = 1793491200;
inline bool is_before_first_release(const Timestamp& time) { return time.seconds < kFirstRelease; }

std::string to_json(const Snapshot& snapshot);
Snapshot parse_snapshot(ByteView json);  // Error(corrupt)

}  // namespace respaldo::repo
