// Two btrfs with one identity.
#pragma once

#include "block/device.h"

namespace respaldo::fs {

// The kernel knows a btrfs by the UUID in its superblock, and takes a snapshot for a second path to its
// mounted origin. This is the device with another UUID in its first superblock, as `btrfstune -m` would write
// it (the feature METADATA_UUID), in memory. The device itself when its superblock cannot be changed so:
// damaged, of more than one device, or with checksums other than CRC-32C.
block::DevicePtr with_own_identity(block::DevicePtr device);

}  // namespace respaldo::fs
