// All inodes in use, in the order of their tables.
#pragma once

#include "fs/ext/block_map.h"
#include "fs/ext/scan_state.h"

namespace respaldo::fs::ext {

// Fills the table's nodes (ascending), their extents, payloads and extended attributes. Inodes that cannot be
// trusted are findings and are left out. Reserved inodes but the root are left out too.
void scan_inodes(ScanState& state);

// One inode as it is on the disk, checked. Absent when it is not readable, or fails its checksum.
struct RawInode {
  InodeDisk disk;
  Bytes bytes;  // s_inode_size of them
};
std::optional<RawInode> read_inode(const Handle& handle, std::uint32_t number);

}  // namespace respaldo::fs::ext
