// A thin volume, for reading.
#pragma once

#include "block/device.h"
#include "dm/thin_metadata.h"

namespace respaldo::dm {

// `size` bytes over the pool's data device. What is not mapped reads from `external` (may be null) where that
// reaches, else as zeros. Throws as ThinMetadata::mappings, and Error(corrupt) when a mapping lies past the
// data.
block::DevicePtr thin_target(const ThinMetadata& pool, block::DevicePtr data, std::uint32_t device_id,
                             block::DevicePtr external, std::uint64_t size, std::string name);

}  // namespace respaldo::dm
