// Checksums of the LVM and device-mapper formats. Pure.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace respaldo {

// LVM2's CRC-32: reflected 0x04C11DB7, initial register 0xf597a6cf, no final inversion.
std::uint32_t lvm_crc(ByteView bytes, std::uint32_t start = 0xf597a6cfU);

// CRC-32C (Castagnoli), initial 0xffffffff, without the final inversion, as dm-thin uses it.
std::uint32_t crc32c_raw(ByteView bytes);

}  // namespace respaldo
