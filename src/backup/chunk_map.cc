#include "backup/chunk_map.h"

#include <algorithm>

namespace respaldo::backup {

namespace {

std::uint64_t end_of(const StoredChunk& chunk) {
  return chunk.offset + std::uint64_t{chunk.length} * chunk.repeat;
}

}  // namespace

void ChunkMap::take(const StoredChunk& chunk) {
  while (next_run_ < runs_.size() && runs_[next_run_].extent.end() <= chunk.offset) ++next_run_;
  if (next_run_ < runs_.size() && runs_[next_run_].extent.offset < end_of(chunk)) chunks_.push_back(chunk);
}

bool ChunkMap::append(Extent extent, std::vector<repo::BlobId>& content) const {
  const std::size_t before = content.size();
  auto at = std::ranges::upper_bound(chunks_, extent.offset, {}, &StoredChunk::offset);
  if (at == chunks_.begin()) return false;
  --at;
  std::uint64_t done = extent.offset;
  while (done < extent.end() && at != chunks_.end() && at->offset <= done &&
         (done - at->offset) % at->length == 0) {
    // A run of zero chunks may begin before the file's data does, and go on behind it.
    for (; done < std::min(extent.end(), end_of(*at)) && extent.end() - done >= at->length;
         done += at->length)
      content.push_back(at->id);
    if (done < end_of(*at)) break;
    ++at;
  }
  if (done == extent.end()) return true;
  content.resize(before);
  return false;
}

}  // namespace respaldo::backup
