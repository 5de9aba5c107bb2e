#include "backup/cutter.h"

#include <algorithm>

#include "base/error.h"

namespace respaldo::backup {

namespace {

// At multiples of kImageChunk; an aligned half that is all zeros becomes a zero chunk, the other half stands
// alone.
class FixedCutter final : public Cutter {
 public:
  void begin(const Span&) override {}
  Cut next(std::uint64_t offset, ByteView bytes, bool last) override {
    const std::uint64_t wanted = kImageChunk - offset % kImageChunk;
    if (bytes.size() < wanted && !last) return {};
    const ByteView chunk = bytes.first(std::min<std::uint64_t>(wanted, bytes.size()));
    if (offset % kZeroChunk == 0 && is_zero_chunk(chunk, 0)) return {kZeroChunk, true};
    const std::uint64_t half = kZeroChunk - offset % kZeroChunk;
    if (half < wanted && is_zero_chunk(chunk, half)) return {half, false};
    return {chunk.size(), false};
  }

 private:
  static bool is_zero_chunk(ByteView chunk, std::uint64_t at) {
    return at < chunk.size() && chunk.size() - at >= kZeroChunk && is_zero(chunk.subspan(at, kZeroChunk));
  }
};

class WholeCutter final : public Cutter {
 public:
  void begin(const Span&) override {}
  Cut next(std::uint64_t, ByteView bytes, bool last) override {
    if (!last) return {};
    return {bytes.size(), bytes.size() == kZeroChunk && is_zero(bytes)};
  }
};

// Zeros are cut off in zero chunks where a chunk begins, so that holes stay holes.
class FileCutter final : public Cutter {
 public:
  explicit FileCutter(const chunk::ContentCutter& content) : content_(content) {}
  void begin(const Span&) override { seen_ = 0; }
  Cut next(std::uint64_t, ByteView bytes, bool last) override {
    if (seen_ < kZeroChunk) {
      if (bytes.size() < kZeroChunk && !last) return {};
      if (bytes.size() >= kZeroChunk && is_zero(bytes.first(kZeroChunk))) return {kZeroChunk, true};
    }
    const std::size_t length = content_.cut(bytes, seen_);
    if (length == bytes.size() && length < chunk::ContentCutter::kLongest && !last) {
      seen_ = length - 1;  // a cut at the very end cannot be told from none
      return {};
    }
    seen_ = 0;
    return {length, false};
  }

 private:
  const chunk::ContentCutter& content_;
  std::size_t seen_ = 0;
};

}  // namespace

std::uint64_t divisible_at(CutKind kind) { return kind == CutKind::fixed ? kImageChunk : 0; }

std::unique_ptr<Cutter> make_cutter(CutKind kind, const chunk::ContentCutter& content) {
  switch (kind) {
    case CutKind::fixed:
      return std::make_unique<FixedCutter>();
    case CutKind::whole:
      return std::make_unique<WholeCutter>();
    case CutKind::content:
      return std::make_unique<FileCutter>(content);
  }
  throw Error(ErrorKind::internal, "unknown kind of cut");
}

}  // namespace respaldo::backup
