// Which chunks of a snapshot lie in its store: ordered, runs joined.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "block/device.h"

namespace respaldo::dm {

// Not thread-safe while changed.
class ExceptionMap {
 public:
  // False, and no change, when old_chunk has an exception already.
  bool insert(std::uint64_t old_chunk, std::uint64_t new_chunk);
  std::optional<std::uint64_t> find(std::uint64_t old_chunk) const;

  // The longest stretch of at most `limit` chunks from `old_chunk` that is either all without exceptions, or
  // all in consecutive chunks of the store.
  struct Stretch {
    std::uint64_t count = 0;
    std::optional<std::uint64_t> new_chunk;
  };
  Stretch stretch(std::uint64_t old_chunk, std::uint64_t limit) const;

  std::uint64_t size() const { return size_; }
  void clear();

 private:
  struct Run {
    std::uint64_t new_chunk = 0, count = 0;
  };
  std::map<std::uint64_t, Run> runs_;  // by first old chunk
  std::uint64_t size_ = 0;
};

// A snapshot as its readers see it: the store where the map says so, else the origin. `name` is for messages.
// Error(corrupt) when a chunk that is not in the store lies past the origin's end.
void read_snapshot(const ExceptionMap& map, std::uint64_t chunk, const block::Device& origin,
                   const block::Device& cow, std::uint64_t offset, MutableBytes out, const std::string& name);
std::vector<block::Run> snapshot_runs(const ExceptionMap& map, std::uint64_t chunk,
                                      const block::Device& origin, const block::Device& cow, Extent range);

}  // namespace respaldo::dm
