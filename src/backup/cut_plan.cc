#include "backup/cut_plan.h"

#include <fmt/format.h>

#include "base/error.h"
#include "view/volume_view.h"

namespace respaldo::backup {

namespace {

static_assert(view::kImagePartSize % kImageChunk == 0 && kImageChunk % kZeroChunk == 0);

std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }
std::uint64_t align_down(std::uint64_t value, std::uint64_t unit) { return value / unit * unit; }

// Appends [offset, end) in pieces that no image part border crosses; joins what can be joined.
void append(CutPlan& plan, std::uint64_t offset, std::uint64_t end, SpanKind kind) {
  while (offset < end) {
    const std::uint64_t stop = std::min(end, align_down(offset, view::kImagePartSize) + view::kImagePartSize);
    Span* last = plan.spans.empty() ? nullptr : &plan.spans.back();
    if (last != nullptr && last->kind == kind && offset % view::kImagePartSize != 0) {
      last->extent.length += stop - offset;
    } else {
      plan.spans.push_back({{offset, stop - offset}, kind, CutKind::fixed});
    }
    offset = stop;
  }
}

}  // namespace

std::uint64_t CutPlan::bytes_to_read() const {
  std::uint64_t sum = 0;
  for (const Span& span : spans)
    if (span.kind == SpanKind::read) sum += span.extent.length;
  return sum;
}

CutPlan plan_image(const block::Device& device) {
  CutPlan plan;
  plan.size = device.size();
  std::uint64_t done = 0;
  for (const block::Run& run : device.runs({0, plan.size})) {
    if (run.kind != block::RunKind::zero) continue;
    const std::uint64_t begin = align_up(run.extent.offset, kZeroChunk),
                        end = align_down(run.extent.end(), kZeroChunk);
    if (begin >= end || begin < done) continue;
    append(plan, done, begin, SpanKind::read);
    append(plan, begin, end, SpanKind::zero);
    done = end;
  }
  append(plan, done, plan.size, SpanKind::read);
  require_tiling(plan);
  return plan;
}

void require_tiling(const CutPlan& plan) {
  const auto bad = [](const Span& span, std::string_view why) {
    return Error(ErrorKind::internal, fmt::format("the span of {} bytes at byte {} {}", span.extent.length,
                                                  span.extent.offset, why));
  };
  std::uint64_t done = 0;
  for (const Span& span : plan.spans) {
    if (span.extent.empty()) throw bad(span, "is empty");
    if (span.extent.offset != done) throw bad(span, fmt::format("should begin at byte {}", done));
    if (span.extent.offset / view::kImagePartSize != (span.extent.end() - 1) / view::kImagePartSize)
      throw bad(span, "crosses the border of an image part");
    if (span.kind == SpanKind::zero && span.extent.length % kZeroChunk != 0)
      throw bad(span, "is not a whole number of zero chunks");
    if (span.kind == SpanKind::read && span.cut == CutKind::whole && span.extent.length > kLongestChunk)
      throw bad(span, "is too long for one blob");
    done = span.extent.end();
  }
  if (done != plan.size)
    throw Error(ErrorKind::internal, fmt::format("the spans end at byte {} of {}", done, plan.size));
}

}  // namespace respaldo::backup
