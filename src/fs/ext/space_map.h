// Which blocks nobody uses.
#pragma once

#include "fs/ext/scan_state.h"

namespace respaldo::fs::ext {

// What the block bitmaps of this filesystem call free, in bytes. Groups whose descriptor or bitmap fails its
// checksum, or cannot be read, have nothing free (`state.findings` tells).
ExtentSet free_by_bitmaps(const Handle& handle, const ExtOptions& options, FindingList& findings);

// What inodes and their trees hold, and the filesystem's own places, in bytes. REQUIRES a finished scan.
ExtentSet claimed_space(const ScanState& state);

}  // namespace respaldo::fs::ext
