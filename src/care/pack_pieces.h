// Parts of a pack, each read in one go.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/units.h"
#include "repo/index.h"

namespace respaldo::care {

inline std::uint64_t end_of(const repo::PackedBlob& blob) { return std::uint64_t{blob.offset} + blob.length; }

// Of the blobs from `first` on, which are sorted by offset: those before `last` are worth reading together,
// bytes between them along.
struct PackPiece {
  std::size_t first = 0, last = 0;
  std::uint64_t begin = 0, end = 0;
};
inline PackPiece next_piece(const repo::PackContents& pack, std::size_t first) {
  constexpr std::uint64_t kPiece = 4 * kMiB, kGap = 256 * kKiB;
  PackPiece piece{first, first + 1, pack.blobs[first].offset, end_of(pack.blobs[first])};
  for (; piece.last < pack.blobs.size(); ++piece.last) {
    const repo::PackedBlob& next = pack.blobs[piece.last];
    if (next.offset > piece.end + kGap || end_of(next) > piece.begin + kPiece) break;
    piece.end = std::max(piece.end, end_of(next));
  }
  return piece;
}

}  // namespace respaldo::care
