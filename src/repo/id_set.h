// A growing set of IDs that many threads add to: 32 bytes for each, and no allocation of its own.
#pragma once

#include <array>
#include <mutex>
#include <vector>

#include "repo/id.h"

namespace respaldo::repo {

// Thread-safe. The null ID cannot be held.
class IdSet {
 public:
  // True when it was not there.
  bool insert(const BlobId& id) {
    Shard& shard = shards_[id.bytes[31] % shards_.size()];
    std::lock_guard lock(shard.mutex);
    if ((shard.used + 1) * 4 > shard.slots.size() * 3) shard.grow();
    BlobId& slot = shard.find(id);
    if (!slot.is_null()) return false;
    slot = id;
    ++shard.used;
    return true;
  }

 private:
  struct Shard {
    std::mutex mutex;
    std::vector<BlobId> slots = std::vector<BlobId>(64);  // open addressing; a power of two
    std::size_t used = 0;

    BlobId& find(const BlobId& id) {
      std::size_t at = std::hash<BlobId>()(id) & (slots.size() - 1);
      while (!slots[at].is_null() && slots[at] != id) at = (at + 1) & (slots.size() - 1);
      return slots[at];
    }
    void grow() {
      std::vector<BlobId> old(slots.size() * 2);
      old.swap(slots);
      for (const BlobId& id : old)
        if (!id.is_null()) find(id) = id;
    }
  };
  std::array<Shard, 16> shards_;
};

}  // namespace respaldo::repo
