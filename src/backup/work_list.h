// The spans of a plan, dealt out in order.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "backup/cut_plan.h"
#include "backup/reuse.h"

namespace respaldo::backup {

// Spans, or parts of spans, that one worker treats in one go: about kRangeBytes to read. They touch each
// other.
struct WorkRange {
  std::uint64_t sequence = 0;  // 0, 1, 2, ... in disk order
  std::vector<Span> spans;
  std::vector<StoredChunk> known;  // see ReusedSpans
};

inline constexpr std::uint64_t kRangeBytes = 16U << 20;
inline constexpr std::size_t kRangeChunks = 4096;  // reused, at most about so many

// Divides as it goes: nothing grows with the volume. Thread-safe. `plan` and `parent` (null: everything is
// read) must outlive it.
class WorkList {
 public:
  explicit WorkList(const CutPlan& plan) : plan_(plan) {}
  WorkList(const CutPlan& plan, const repo::IndexedRepository& repository, const ParentImage* parent)
      : plan_(plan) {
    if (parent != nullptr) reuse_.emplace(repository, *parent);
  }
  std::optional<WorkRange> next();
  // Goes through all that is left, and counts what would be read (a little more may be: see reuse.h).
  std::uint64_t count_bytes_to_read();

 private:
  const CutPlan& plan_;
  std::mutex mutex_;
  std::optional<Reuse> reuse_;
  std::size_t span_ = 0;
  std::uint64_t done_in_span_ = 0, sequence_ = 0, bytes_to_read_ = 0;
};

}  // namespace respaldo::backup
