// On-disk layout of the persistent exception store. docs/formats/dm-snapshot.md
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "base/endian.h"
#include "base/units.h"

namespace respaldo::dm {

inline constexpr std::uint32_t kCowMagic = 0x70416e53;  // "SnAp"
inline constexpr std::uint32_t kCowVersion = 1;

struct CowHeader {
  Le32 magic, valid, version, chunk_sectors;
};
struct CowEntry {
  Le64 old_chunk, new_chunk;  // new_chunk 0 ends the list
};
static_assert(sizeof(CowHeader) == 16 && alignof(CowHeader) == 1 && std::is_trivially_copyable_v<CowHeader>);
static_assert(sizeof(CowEntry) == 16 && alignof(CowEntry) == 1 && std::is_trivially_copyable_v<CowEntry>);

// Where things are in a store. Chunk 0 is the header; area a is chunk 1 + a * (entries + 1); the rest is
// data.
struct CowGeometry {
  std::uint64_t chunk = 0;   // bytes
  std::uint64_t chunks = 0;  // whole chunks of the store

  static constexpr std::uint64_t kLargestChunk = 16 * kMiB;  // lvm2 stops at 512 KiB
  static bool chunk_is_sane(std::uint64_t bytes) {
    return bytes >= kSector && bytes <= kLargestChunk && std::has_single_bit(bytes);
  }
  std::uint64_t entries() const { return chunk / sizeof(CowEntry); }  // of one area
  std::uint64_t area_chunk(std::uint64_t area) const { return 1 + area * (entries() + 1); }
  bool is_data_chunk(std::uint64_t number) const {
    return number >= 2 && number < chunks && number % (entries() + 1) != 1;
  }
  // The first data chunk at or after `number`.
  std::uint64_t skip_area(std::uint64_t number) const {
    return number % (entries() + 1) == 1 ? number + 1 : number;
  }
};

}  // namespace respaldo::dm
