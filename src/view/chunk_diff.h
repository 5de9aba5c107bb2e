// Where two contents differ that are lists of blobs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "view/volume_view.h"

namespace respaldo::view {

// Bytes, and how many ranges of them, where the blobs that cover two contents differ, or where only one of
// them is. Zeros are equal however they are cut.
struct ChangedBytes {
  std::uint64_t bytes = 0, ranges = 0;
};
// By their ids alone: what is cut otherwise differs.
ChangedBytes compare_chunks(std::span<const ImageChunk> before, std::span<const ImageChunk> after);

// Reads what is cut otherwise: the same bytes may lie in other blobs, as after they were moved on a disk.
// Blobs of the same place and length are never read. Some blobs are in memory at a time, whatever the lists
// cover.
class ChunkComparison {
 public:
  // All must outlive it. Much to read is a phase, "compare".
  ChunkComparison(const repo::IndexedRepository& repository, Progress& progress, std::stop_token stop)
      : repository_(repository), progress_(progress), stop_(std::move(stop)) {}

  struct Result {
    ChangedBytes changed;
    std::optional<Error> problem;  // the first one: what cannot be read counts as changed
  };
  // Pieces between the borders of all blobs are compared; Cancelled on stop.
  Result compare(std::span<const ImageChunk> before, std::span<const ImageChunk> after);
  // Whether there is any difference: at the first one nothing more is read, and nothing at all when ids tell.
  Result compare_until_difference(std::span<const ImageChunk> before, std::span<const ImageChunk> after);

 private:
  Result compare(std::span<const ImageChunk> before, std::span<const ImageChunk> after, bool whole);

  const repo::IndexedRepository& repository_;
  Progress& progress_;
  const std::stop_token stop_;
};

}  // namespace respaldo::view
