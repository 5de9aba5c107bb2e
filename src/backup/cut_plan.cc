#include "backup/cut_plan.h"

#include <fmt/format.h>

#include "base/error.h"
#include "view/volume_view.h"

namespace respaldo::backup {

namespace {

static_assert(view::kImagePartSize % kImageChunk == 0 && kImageChunk % kZeroChunk == 0);

std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }
std::uint64_t align_down(std::uint64_t value, std::uint64_t unit) { return value / unit * unit; }

class Planner {
 public:
  Planner(const block::Device& device, const VolumeMap& map)
      : map_(map), runs_(device.runs({0, device.size()})) {
    plan_.size = device.size();
  }

  CutPlan run() {
    auto free = map_.free.extents().begin();
    const auto free_end = map_.free.extents().end();
    const auto free_until = [&](std::uint64_t limit) {
      for (; free != free_end && free->offset < limit; ++free) {
        other(free->offset);
        append(free->end(), SpanKind::zero, CutKind::fixed);
      }
    };
    for (const FileRun& run : map_.files) {
      free_until(run.extent.offset);
      other(run.extent.offset);
      file(run);
      append(done_ + run.slack, SpanKind::read, CutKind::whole);
    }
    free_until(plan_.size);
    other(plan_.size);
    require_tiling(plan_);
    return std::move(plan_);
  }

 private:
  // Appends what lies before `end` in pieces that no image part border crosses; joins what can be joined.
  void append(std::uint64_t end, SpanKind kind, CutKind cut) {
    while (done_ < end) {
      const std::uint64_t stop =
          std::min(end, align_down(done_, view::kImagePartSize) + view::kImagePartSize);
      Span* last = plan_.spans.empty() ? nullptr : &plan_.spans.back();
      if (last != nullptr && last->kind == kind && last->cut == cut && cut == CutKind::fixed &&
          done_ % view::kImagePartSize != 0) {
        last->extent.length += stop - done_;
      } else {
        plan_.spans.push_back({{done_, stop - done_}, kind, cut});
      }
      done_ = stop;
    }
  }

  void file(const FileRun& run) {
    const std::uint64_t end = run.extent.end();
    if (run.extent.length <= kWholeFile) {
      append(end, SpanKind::read, CutKind::whole);
      return;
    }
    while (done_ < end) {
      const std::uint64_t logical = run.logical + (done_ - run.extent.offset);
      const std::uint64_t stop = std::min(end, done_ + kFilePiece - logical % kFilePiece);
      append(stop, SpanKind::read, stop - done_ <= kWholeFile ? CutKind::whole : CutKind::content);
    }
  }

  // Neither files nor free: up to `end`.
  void other(std::uint64_t end) {
    for (; run_ < runs_.size() && runs_[run_].extent.offset < end; ++run_) {
      if (runs_[run_].kind == block::RunKind::zero) {
        const std::uint64_t from = std::max(runs_[run_].extent.offset, done_);
        const std::uint64_t begin = align_up(from, kZeroChunk),
                            stop = align_down(std::min(runs_[run_].extent.end(), end), kZeroChunk);
        if (begin < stop && begin >= done_) {
          append(begin, SpanKind::read, CutKind::fixed);
          append(stop, SpanKind::zero, CutKind::fixed);
        }
      }
      if (runs_[run_].extent.end() > end) break;  // it goes on behind what comes next
    }
    append(end, SpanKind::read, CutKind::fixed);
  }

  const VolumeMap& map_;
  const std::vector<block::Run> runs_;
  std::size_t run_ = 0;
  std::uint64_t done_ = 0;
  CutPlan plan_;
};

}  // namespace

std::uint64_t CutPlan::bytes_to_read() const {
  std::uint64_t sum = 0;
  for (const Span& span : spans)
    if (span.kind == SpanKind::read) sum += span.extent.length;
  return sum;
}

CutPlan plan_volume(const block::Device& device, const VolumeMap& map) { return Planner(device, map).run(); }

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
    if (span.kind == SpanKind::read && span.cut == CutKind::whole && span.extent.length > kLongestChunk)
      throw bad(span, "is too long for one blob");
    done = span.extent.end();
  }
  if (done != plan.size)
    throw Error(ErrorKind::internal, fmt::format("the spans end at byte {} of {}", done, plan.size));
}

}  // namespace respaldo::backup
