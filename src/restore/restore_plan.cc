#include "restore/restore_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "base/error.h"
#include "base/units.h"
#include "restore/stored_packs.h"

namespace respaldo::restore {

namespace {

constexpr std::uint64_t kZeroPiece = 64 * kMiB;

repo::BlobLocation locate(const repo::IndexedRepository& repository, const repo::BlobId& id) {
  const auto location = repository.index().find(repo::BlobType::data, id);
  if (!location)
    throw Error(ErrorKind::corrupt, fmt::format("blob {} is in no index", id.short_hex()),
                "run: respaldo check");
  return *location;
}

}  // namespace

RestorePlan::RestorePlan(const repo::IndexedRepository& repository,
                         const std::vector<view::ImageChunk>& chunks, const view::ZeroBlobs& zeros)
    : repository_(repository), chunks_(chunks) {
  if (chunks.size() > UINT32_MAX)
    throw Error(ErrorKind::unsupported, "an image of more than 4294967295 blobs cannot be restored");
  std::unordered_map<repo::PackId, std::uint32_t> packs;
  for (std::uint32_t i = 0; i < chunks.size(); ++i) {
    const Extent extent{chunks[i].offset, chunks[i].length};
    if (zeros.contains(chunks[i].id)) {
      if (!zeros_.empty() && zeros_.back().end() == extent.offset && zeros_.back().length < kZeroPiece) {
        zeros_.back().length += extent.length;
      } else {
        zeros_.push_back(extent);
      }
      continue;
    }
    const repo::BlobLocation location = locate(repository, chunks[i].id);
    const auto pack =
        packs.try_emplace(location.pack, static_cast<std::uint32_t>(packs.size())).first->second;
    entries_.push_back({pack, location.offset, i});
  }
  std::ranges::sort(entries_, [](const Entry& a, const Entry& b) {
    return std::tie(a.pack, a.offset, a.chunk) < std::tie(b.pack, b.offset, b.chunk);
  });
}

void RestorePlan::require_stored() const {
  const StoredPacks packs(repository_);
  const repo::BlobId* last = nullptr;
  for (const Entry& entry : entries_) {
    const view::ImageChunk& chunk = chunks_[entry.chunk];
    if (last != nullptr && *last == chunk.id) continue;
    last = &chunk.id;
    const repo::BlobLocation location = locate(repository_, chunk.id);
    const StoredPacks::State state = packs.state(chunk.id, location);
    if (state == StoredPacks::State::whole) continue;
    throw Error(ErrorKind::corrupt,
                fmt::format("what belongs at byte {} is lost: pack {} is {}", chunk.offset, location.pack.short_hex(),
                            state == StoredPacks::State::cut ? "too short" : "missing"),
                "nothing was written; with parity `respaldo check --repair` may bring it back; `respaldo check` tells what "
                "else is lost, and `restore --files` brings back the files that are not");
  }
}

std::optional<RestoreJob> RestorePlan::next() {
  std::lock_guard lock(mutex_);
  if (next_ == entries_.size()) return std::nullopt;
  RestoreJob job;
  const Entry first = entries_[next_];
  for (; next_ < entries_.size() && entries_[next_].pack == first.pack; ++next_) {
    const Entry& entry = entries_[next_];
    const repo::BlobId& id = chunks_[entry.chunk].id;
    if (job.blobs.empty() || job.blobs.back().id != id) {
      const repo::BlobLocation location = locate(repository_, id);
      if (!job.blobs.empty() && !same_stretch(job.blobs.back().location, location, first.offset)) break;
      job.blobs.push_back({id, location});
      job.first_chunk.push_back(static_cast<std::uint32_t>(job.chunks.size()));
    }
    job.chunks.push_back(entry.chunk);
  }
  return job;
}

std::optional<Extent> RestorePlan::next_zeros() {
  std::lock_guard lock(mutex_);
  if (next_zeros_ == zeros_.size()) return std::nullopt;
  return zeros_[next_zeros_++];
}

}  // namespace respaldo::restore
