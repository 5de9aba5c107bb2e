// The walk of a mounted tree: every name, inode, attribute and place, into a table.
#pragma once

#include <stop_token>

#include "fs/mounted/mount_kind.h"
#include "fs/mounted/mounted_table.h"

namespace respaldo::fs {

struct MountedWalk {
  MountedTable table;
  std::vector<Finding> findings;  // at most the limit
  std::uint64_t finding_count = 0;
  std::vector<std::string> notes;
};

struct WalkOptions {
  const MountKind& kind;
  std::uint32_t block_size = 4096;
  std::uint64_t device_size = 0;
  std::size_t finding_limit = 1000;
  std::stop_token stop = {};
};

// `root`: an open folder. Never leaves its mount; btrfs' subvolumes are entered, except read-only snapshots,
// which a note tells. Throws for the root folder itself; whatever else cannot be read is a finding.
MountedWalk walk_mounted(int root, const WalkOptions& options);

}  // namespace respaldo::fs
