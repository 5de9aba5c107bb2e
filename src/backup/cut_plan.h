// The plan of a pass: ordered spans that tile a volume. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "block/device.h"
#include "view/zero_blob.h"

namespace respaldo::backup {

enum class SpanKind : std::uint8_t {
  read,  // read, cut, hash, store
  zero,  // known to be zeros: not read
};

// How the bytes of a read span are cut into blobs.
enum class CutKind : std::uint8_t {
  fixed,  // at multiples of the chunk size counted from the start of the volume
  whole,  // one blob (a small file, a tail)
};

struct Span {
  Extent extent;
  SpanKind kind = SpanKind::read;
  CutKind cut = CutKind::fixed;
  friend bool operator==(const Span&, const Span&) = default;
};

// Spans tile [0, size) in disk order. They never cross a multiple of view::kImagePartSize.
struct CutPlan {
  std::uint64_t size = 0;
  std::vector<Span> spans;
  std::uint64_t bytes_to_read() const;
};

inline constexpr std::uint64_t kImageChunk = 1U << 20;  // image data: fixed 1 MiB
inline constexpr std::uint64_t kZeroChunk =
    view::kZeroBlobLength;                                // zero runs: restic's sparse restore knows it
inline constexpr std::uint64_t kLongestChunk = 8U << 20;  // of any kind of cut

// The image view alone: zero runs as the device tells them, everything else read in fixed chunks. Zero spans
// are whole kZeroChunk multiples of at least one chunk, aligned; what is left over is read.
CutPlan plan_image(const block::Device& device);

// Throws Error(internal) unless the spans tile the volume.
void require_tiling(const CutPlan& plan);

}  // namespace respaldo::backup
