// All directories, read in disk order, and the names that lead to each inode.
#pragma once

#include <functional>

#include "fs/ext/ext_format.h"
#include "fs/ext/scan_state.h"

namespace respaldo::fs::ext {

// Pure. One block of a directory (or the part of one that lies in an inode): calls `take` for each name.
// Returns what is wrong, or null; what came before was taken. `has_type`: the filetype feature.
const char* parse_directory_block(
    ByteView bytes, bool has_type,
    const std::function<void(std::uint32_t inode, std::string_view name)>& take);

struct DirectoryFacts {
  std::uint32_t encrypted = 0;  // directories whose names cannot be told
};

// Fills the table's entries and names, and marks what the root reaches. REQUIRES scan_inodes().
DirectoryFacts scan_directories(ScanState& state);

}  // namespace respaldo::fs::ext
