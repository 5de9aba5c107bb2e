#include "backup/work_list.h"

#include "backup/cutter.h"

namespace respaldo::backup {

std::optional<WorkRange> WorkList::next() {
  std::lock_guard lock(mutex_);
  if (span_ == plan_.spans.size()) return std::nullopt;
  WorkRange range{sequence_++, {}, {}};
  ReusedSpans divided;
  std::uint64_t to_read = 0;
  while (span_ < plan_.spans.size() && to_read < kRangeBytes && divided.known.size() < kRangeChunks) {
    Span part = plan_.spans[span_];
    part.extent.offset += done_in_span_;
    part.extent.length -= done_in_span_;
    if (part.kind == SpanKind::read) {
      const std::uint64_t room = kRangeBytes - to_read, unit = divisible_at(part.cut);
      if (unit != 0 && part.extent.length > room) {
        const std::uint64_t begin = part.extent.offset;
        std::uint64_t stop = (begin + room) / unit * unit;
        if (stop <= begin) stop = (begin / unit + 1) * unit;
        part.extent.length = std::min(part.extent.length, stop - begin);
      }
      if (!reuse_) to_read += part.extent.length;
    }
    done_in_span_ += part.extent.length;
    if (done_in_span_ == plan_.spans[span_].extent.length) {
      ++span_;
      done_in_span_ = 0;
    }
    if (reuse_ && part.kind == SpanKind::read) {
      reuse_->divide(part, divided);
      to_read = divided.to_read;
    } else {
      divided.spans.push_back(part);
    }
  }
  range.spans = std::move(divided.spans);
  range.known = std::move(divided.known);
  bytes_to_read_ += to_read;
  return range;
}

std::uint64_t WorkList::count_bytes_to_read() {
  while (next()) {
  }
  return bytes_to_read_;
}

}  // namespace respaldo::backup
