// The plan of a pass: ordered spans that tile a volume. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "block/device.h"
#include "view/zero_blob.h"

namespace respaldo::backup {

enum class SpanKind : std::uint8_t {
  read,  // read, cut, hash, store
  zero,  // stored as zeros, and not read: known zeros, and what a filesystem calls free
  reuse,  // not read: the chunks of an earlier backup. Not in plans; made of read spans on the way (reuse.h)
};

// How the bytes of a read span are cut into blobs.
enum class CutKind : std::uint8_t {
  fixed,    // at multiples of the chunk size counted from the start of the volume
  whole,    // one blob (a small file, a tail)
  content,  // where the content says (long files), from the start of the span: what has moved is found again
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

// Bytes of a file that lie in one piece on the volume.
struct FileRun {
  Extent extent;              // of the volume
  std::uint64_t logical = 0;  // offset in the file
  std::uint32_t slack = 0;    // bytes behind the file's end that fill its last block
  std::uint32_t view = 0;     // which of the volume's filesystems
  std::uint32_t node = 0;     // which of its inodes
};

// What is known of a volume's contents.
struct VolumeMap {
  std::vector<FileRun> files;  // ascending, with their slack apart from each other, within the volume
  ExtentSet free;              // apart from the files; stored as zeros
};

// Files up to this length, and pieces of files, are one blob; longer ones are cut by content.
inline constexpr std::uint64_t kWholeFile = 512U << 10;
// Long files are divided at such multiples (of the file), so that several workers can share one.
inline constexpr std::uint64_t kFilePiece = 32U << 20;

// File data in spans of its own, slack after it, free space as zeros; everything else is metadata to us, cut
// at fixed places, where zero runs that the device tells are not read (whole aligned kZeroChunk of them).
CutPlan plan_volume(const block::Device& device, const VolumeMap& map);
// The image view alone.
inline CutPlan plan_image(const block::Device& device) { return plan_volume(device, {}); }

// Throws Error(internal) unless the spans tile the volume.
void require_tiling(const CutPlan& plan);

}  // namespace respaldo::backup
