// The spans of a plan, dealt out in order.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "backup/cut_plan.h"

namespace respaldo::backup {

// Spans, or parts of spans, that one worker treats in one go: about kRangeBytes to read. They touch each
// other.
struct WorkRange {
  std::uint64_t sequence = 0;  // 0, 1, 2, ... in disk order
  std::vector<Span> spans;
};

inline constexpr std::uint64_t kRangeBytes = 8U << 20;

// Divides as it goes: nothing grows with the volume. Thread-safe. `plan` must outlive it.
class WorkList {
 public:
  explicit WorkList(const CutPlan& plan) : plan_(plan) {}
  std::optional<WorkRange> next();

 private:
  const CutPlan& plan_;
  std::mutex mutex_;
  std::size_t span_ = 0;
  std::uint64_t done_in_span_ = 0, sequence_ = 0;
};

}  // namespace respaldo::backup
