// A thick snapshot of a table, for reading.
#pragma once

#include "block/device.h"

namespace respaldo::dm {

// `size` bytes: the store's chunks over the origin's. Loads the store. Error(overflow) when the store is
// invalid.
block::DevicePtr snapshot_target(block::DevicePtr origin, const block::DevicePtr& cow, std::uint64_t size,
                                 std::uint64_t fallback_chunk, std::string name);

// An origin into which a snapshot is being merged: chunks that are still listed are read from the store. An
// invalid store counts for nothing, as for the kernel.
block::DevicePtr snapshot_merge_target(block::DevicePtr origin, const block::DevicePtr& cow,
                                       std::uint64_t size, std::uint64_t fallback_chunk, std::string name);

}  // namespace respaldo::dm
