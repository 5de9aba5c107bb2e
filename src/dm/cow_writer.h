// Appends exceptions to a store, in the kernel's order and so that power may fail at any moment.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "block/device.h"
#include "dm/cow_format.h"
#include "dm/cow_store.h"
#include "dm/exception_map.h"

namespace respaldo::dm {

struct ChunkRun {
  std::uint64_t first = 0, count = 0;
};

// A batch of chunks is added in steps: allocate (no change), the caller writes the data of every placement,
// prepare, flush, expose, flush, publish. Until publish the object is unchanged; a batch that is dropped
// before only leaves chunks that the next batch uses again. Not thread-safe: allocate, prepare and expose of
// one batch may run while others read map() and status(), publish and the rest may not.
class CowWriter {
 public:
  // Loads the store, or makes one where there are only zeros. Throws as CowStore::load.
  CowWriter(block::WritableDevicePtr cow, std::uint64_t fallback_chunk);

  bool valid() const { return valid_; }
  std::uint64_t chunk() const { return geometry_.chunk; }
  const ExceptionMap& map() const { return map_; }
  block::WritableDevice& device() const { return *cow_; }
  CowStatus status() const;

  struct Placement {
    std::uint64_t old_chunk = 0, new_chunk = 0, count = 0;
  };
  struct Batch {
    std::vector<Placement> placements;
    // The areas that the entries go to, from the present one on, as they will be.
    std::uint64_t first_area = 0, first_entry = 0;
    std::vector<Bytes> areas;
    std::uint64_t next_free = 0, committed = 0;
  };
  // Room for chunks that have no exception yet; absent when the store is full.
  std::optional<Batch> allocate(const std::vector<ChunkRun>& old_chunks) const;
  // Writes what no reader sees before expose(): the areas after the present one.
  void prepare(const Batch& batch);
  // Makes the entries visible on disk.
  void expose(const Batch& batch);
  void publish(Batch batch);

  // Forgets the store's contents and marks it invalid on disk. False while that mark is not durable: whoever opens
  // the store later would take it for a good one. May be called again, and then tries again.
  bool invalidate() noexcept;
  bool marked() const { return valid_ || marked_; }
  // The same store on a larger device.
  void grow(block::WritableDevicePtr cow);

 private:
  block::WritableDevicePtr cow_;
  CowGeometry geometry_;
  bool valid_ = true;
  bool marked_ = false;  // what is invalid here is so on disk
  ExceptionMap map_;
  std::uint64_t next_free_ = 2;
  std::uint64_t area_ = 0, committed_ = 0;  // where the next entry goes
  Bytes entries_;                           // the present area
};

}  // namespace respaldo::dm
