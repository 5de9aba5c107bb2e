// Devices laid out over other devices: one after the other, or in stripes. Thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "block/device.h"

namespace respaldo::dm {

// `parts` one after the other.
block::DevicePtr concatenate(std::vector<block::DevicePtr> parts, std::string name);
block::WritableDevicePtr concatenate(std::vector<block::WritableDevicePtr> parts, std::string name);

// Chunk n is on leg n mod legs at chunk n div legs. REQUIRES equal leg sizes that are multiples of chunk
// (bytes, not 0), else Error(corrupt).
block::DevicePtr stripe(std::vector<block::DevicePtr> legs, std::uint64_t chunk, std::string name);
block::WritableDevicePtr stripe(std::vector<block::WritableDevicePtr> legs, std::uint64_t chunk,
                                std::string name);

// The runs of a device whose rows of chunks lie on several legs at equal depth: row r is bytes [r * chunk,
// (r + 1) * chunk) of every leg and holds `columns` chunks of the device. `leg_of(row, column)` names the leg
// that holds a chunk. `leg_runs[i]` are the runs of leg i over the rows that `range` touches.
template <class LegOf>
std::vector<block::Run> interleave_runs(Extent range, std::uint64_t chunk, std::uint64_t columns,
                                        const std::vector<std::vector<block::Run>>& leg_runs, LegOf leg_of);

// The bytes of every leg that the rows of `range` occupy.
inline Extent rows_of(Extent range, std::uint64_t chunk, std::uint64_t columns) {
  const std::uint64_t row = chunk * columns;
  const std::uint64_t first = range.offset / row, last = (range.end() - 1) / row;
  return {first * chunk, (last - first + 1) * chunk};
}

// ---- implementation

// Walks the runs of one leg forward.
class RunCursor {
 public:
  explicit RunCursor(const std::vector<block::Run>& runs) : runs_(&runs) {}
  // The run that holds byte `at`; null past the last one. `at` must not go backwards.
  const block::Run* seek(std::uint64_t at) {
    while (next_ < runs_->size() && (*runs_)[next_].extent.end() <= at) ++next_;
    return next_ < runs_->size() ? &(*runs_)[next_] : nullptr;
  }

 private:
  const std::vector<block::Run>* runs_;
  std::size_t next_ = 0;
};

template <class LegOf>
std::vector<block::Run> interleave_runs(Extent range, std::uint64_t chunk, std::uint64_t columns,
                                        const std::vector<std::vector<block::Run>>& leg_runs, LegOf leg_of) {
  std::vector<block::Run> result;
  std::vector<RunCursor> cursors;
  for (const auto& runs : leg_runs) cursors.emplace_back(runs);
  const std::uint64_t row_bytes = chunk * columns;
  std::uint64_t at = range.offset;
  while (at < range.end()) {
    const std::uint64_t row = at / row_bytes;
    // Many whole rows at once while every leg is in one run of the same kind.
    if (at % row_bytes == 0) {
      std::uint64_t rows = (range.end() - at) / row_bytes;
      const block::Run* first = cursors[0].seek(row * chunk);
      for (std::size_t i = 0; i < cursors.size() && rows > 0; ++i) {
        const block::Run* run = cursors[i].seek(row * chunk);
        if (run == nullptr || run->kind != first->kind)
          rows = 0;
        else
          rows = std::min(rows, (run->extent.end() - row * chunk) / chunk);
      }
      if (rows > 0) {
        block::append_run(result, {{at, rows * row_bytes}, first->kind});
        at += rows * row_bytes;
        continue;
      }
    }
    const std::uint64_t column = at % row_bytes / chunk, within = at % chunk;
    const std::uint64_t end = std::min(range.end(), at - within + chunk);
    RunCursor& kept = cursors[leg_of(row, column)];
    kept.seek(row * chunk);
    RunCursor cursor = kept;  // a copy: the next range may begin in this row again
    std::uint64_t below = row * chunk + within;
    while (at < end) {
      const block::Run* run = cursor.seek(below);
      const std::uint64_t n = run == nullptr ? end - at : std::min(end - at, run->extent.end() - below);
      block::append_run(result, {{at, n}, run == nullptr ? block::RunKind::data : run->kind});
      at += n;
      below += n;
    }
  }
  return result;
}

}  // namespace respaldo::dm
