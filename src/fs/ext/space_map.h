// Which blocks nobody uses.
#pragma once

#include "fs/ext/scan_state.h"

namespace respaldo::fs::ext {

// What the block bitmaps of this filesystem call free, in bytes. Groups whose descriptor or bitmap fails its
// checksum, or cannot be read, have nothing free (`findings` tells).
ExtentSet free_by_bitmaps(const Handle& handle, const ExtOptions& options, FindingList& findings);

// The same for the filesystem that was walked, and believed as a whole or not at all: empty when there is any
// damage, also where bitmaps, descriptors and files contradict each other (`state.findings` tells). A bitmap
// that lies would cost what only e2fsck can still find. REQUIRES a finished scan.
ExtentSet sound_free_space(ScanState& state);

}  // namespace respaldo::fs::ext
