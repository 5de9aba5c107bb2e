// Decoded blobs that were used lately.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <future>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "base/bytes.h"
#include "repo/id.h"

namespace respaldo::view {

// Bounded in bytes, least recently used out first, in shards so that readers seldom wait for one another.
// Thread-safe. Readers that ask for one blob at one time share one load; a load that fails is not remembered.
class BlobCache {
 public:
  using Blob = std::shared_ptr<const Bytes>;
  explicit BlobCache(std::uint64_t capacity_bytes);

  // The blob, through `load` when it is not here. Rethrows what load throws, to everyone who waited for it.
  Blob get(const repo::BlobId& id, const std::function<Bytes()>& load);
  std::uint64_t bytes() const;

 private:
  static constexpr std::size_t kShards = 8;
  struct Entry {
    repo::BlobId id;
    std::shared_future<Blob> blob;
    std::uint64_t size = 0;  // 0 while it is being loaded
  };
  struct Shard {
    mutable std::mutex mutex;
    std::list<Entry> entries;  // most recently used first
    std::unordered_map<repo::BlobId, std::list<Entry>::iterator> by_id;
    std::uint64_t bytes = 0;
  };
  Shard& shard(const repo::BlobId& id) { return shards_[id.bytes[31] % kShards]; }
  void trim(Shard& shard) const;

  const std::uint64_t shard_capacity_;
  std::array<Shard, kShards> shards_;
};

}  // namespace respaldo::view
