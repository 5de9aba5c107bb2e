#include "view/blob_cache.h"

#include "base/error.h"

namespace respaldo::view {

BlobCache::BlobCache(std::uint64_t capacity_bytes) : shard_capacity_(capacity_bytes / kShards) {}

BlobCache::Blob BlobCache::get(const repo::BlobId& id, const std::function<Bytes()>& load) {
  Shard& shard = this->shard(id);
  std::promise<Blob> promise;
  std::shared_future<Blob> other;
  {
    std::lock_guard lock(shard.mutex);
    if (const auto found = shard.by_id.find(id); found != shard.by_id.end()) {
      shard.entries.splice(shard.entries.begin(), shard.entries, found->second);
      other = found->second->blob;
    } else {
      shard.entries.push_front({id, promise.get_future().share(), 0});
      shard.by_id.emplace(id, shard.entries.begin());
    }
  }
  if (other.valid()) {
    try {
      return other.get();
    } catch (const Error& error) {
      throw Error(error);  // each thread adds its context to one of its own
    }
  }

  try {
    auto blob = std::make_shared<const Bytes>(load());
    promise.set_value(blob);
    std::lock_guard lock(shard.mutex);
    if (const auto found = shard.by_id.find(id); found != shard.by_id.end()) {
      found->second->size = blob->size();
      shard.bytes += blob->size();
      trim(shard);
    }
    return blob;
  } catch (...) {
    {
      std::lock_guard lock(shard.mutex);
      if (const auto found = shard.by_id.find(id); found != shard.by_id.end()) {
        shard.entries.erase(found->second);
        shard.by_id.erase(found);
      }
    }
    share_exception(promise);
    throw;
  }
}

// Loads under way are not counted and not thrown out.
void BlobCache::trim(Shard& shard) const {
  for (auto at = shard.entries.end(); shard.bytes > shard_capacity_ && at != shard.entries.begin();) {
    --at;
    if (at->size == 0 || at == shard.entries.begin()) continue;
    shard.bytes -= at->size;
    shard.by_id.erase(at->id);
    at = shard.entries.erase(at);
  }
}

std::uint64_t BlobCache::bytes() const {
  std::uint64_t sum = 0;
  for (const Shard& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    sum += shard.bytes;
  }
  return sum;
}

}  // namespace respaldo::view
