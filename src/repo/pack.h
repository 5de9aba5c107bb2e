// Pack files: sealed blobs one after the other, then a sealed list of them. docs/formats/restic.md "packs".
#pragma once

#include <cstdint>
#include <vector>

#include "crypto/crypto.h"
#include "repo/index.h"

namespace respaldo::repo {

inline constexpr std::uint64_t kLongestPackHeader = 16U << 20;  // sealed
// A pack of so many small blobs is full: it bounds what a run holds until an index file tells of them.
inline constexpr std::size_t kMostBlobsInPack = 32768;
// What one blob costs in the header, bytes.
std::uint64_t header_entry_size(const PackedBlob& blob);

// The header's plain bytes, for blobs in file order.
Bytes pack_header(const std::vector<PackedBlob>& blobs);

}  // namespace respaldo::repo
