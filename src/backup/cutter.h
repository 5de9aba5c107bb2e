// Where the bytes of a span become blobs.
#pragma once

#include <cstdint>
#include <memory>

#include "backup/cut_plan.h"
#include "base/bytes.h"
#include "chunk/content_cutter.h"

namespace respaldo::backup {

struct Cut {
  std::size_t length = 0;  // 0: more bytes are needed to decide
  bool zero = false;       // exactly kZeroChunk zeros
};

// Decides cuts from the offset and the bytes alone, so that a volume is cut alike on each run, however the
// work is divided and whatever the device knows of its holes. One object for each thread; begin() starts a
// span.
class Cutter {
 public:
  virtual ~Cutter() = default;
  virtual void begin(const Span& span) = 0;
  // The first chunk of `bytes` (not empty), which begin at `offset` of the volume. `last`: they reach the
  // span's end; then the answer is never 0. Nor is it once there are kLongestChunk bytes.
  virtual Cut next(std::uint64_t offset, ByteView bytes, bool last) = 0;
};

// A span of this kind may be divided at such multiples (from the volume's start) and is still cut alike; 0:
// not.
std::uint64_t divisible_at(CutKind kind);
// `content` must outlive the cutter.
std::unique_ptr<Cutter> make_cutter(CutKind kind, const chunk::ContentCutter& content);

}  // namespace respaldo::backup
