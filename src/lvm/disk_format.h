// LVM2's on-disk structures: label sector, PV header, metadata area header. All little-endian.
// Source: behaviour of lvm2 2.03.16; docs/formats/lvm2-disk.md.
#pragma once

#include <type_traits>

#include "base/endian.h"

namespace respaldo::lvm {

inline constexpr std::size_t kLabelSize = 512;
inline constexpr std::size_t kLabelSectors = 4;  // sectors that may hold the label

struct LabelHeaderDisk {
  std::uint8_t id[8];    // "LABELONE"
  Le64 sector;           // where it lives
  Le32 crc;              // over bytes 20..511
  Le32 contents_offset;  // always 32
  std::uint8_t type[8];  // "LVM2 001"
};
struct PvHeaderDisk {
  std::uint8_t id[32];
  Le64 device_size;  // bytes
};
struct DiskArea {
  Le64 offset, size;  // bytes
};
struct PvExtensionDisk {
  Le32 version, flags;
};
struct RawLocationDisk {
  Le64 offset, size;  // bytes; offset relative to the area
  Le32 crc, flags;
};
struct MdaHeaderDisk {
  Le32 crc;  // over bytes 4..511
  std::uint8_t magic[16];
  Le32 version;
  Le64 start, size;
  RawLocationDisk slots[2];  // committed, precommitted
};
static_assert(sizeof(LabelHeaderDisk) == 32 && sizeof(PvHeaderDisk) == 40 && sizeof(DiskArea) == 16);
static_assert(sizeof(RawLocationDisk) == 24 && sizeof(MdaHeaderDisk) == 88 && alignof(MdaHeaderDisk) == 1);
static_assert(std::is_trivially_copyable_v<MdaHeaderDisk> && std::is_trivially_copyable_v<LabelHeaderDisk>);

inline constexpr std::uint8_t kMdaMagic[16] = {0x20, 0x4c, 0x56, 0x4d, 0x32, 0x20, 0x78, 0x5b,
                                               0x35, 0x41, 0x25, 0x72, 0x30, 0x4e, 0x2a, 0x3e};
inline constexpr std::uint32_t kSlotIgnored = 1;
inline constexpr std::uint64_t kMdaHeaderSize = 512;

}  // namespace respaldo::lvm
