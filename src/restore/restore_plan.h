// In which order an image's blobs are fetched: pack by pack, each pack once from front to back.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/extent.h"
#include "restore/blob_reader.h"
#include "view/volume_view.h"
#include "view/zero_blob.h"

namespace respaldo::restore {

// Blobs of one stretch of a pack, and where each one goes.
struct RestoreJob {
  std::vector<WantedBlob> blobs;           // by offset in the pack
  std::vector<std::uint32_t> first_chunk;  // for each blob: its first place in `chunks`
  std::vector<std::uint32_t> chunks;       // numbers of image chunks, blob after blob
};

// Deals out jobs. Packs come in the order in which the image needs them first, so that writing goes forward
// too; a blob that the image holds in many places is fetched once. 12 bytes for each chunk. Thread-safe.
class RestorePlan {
 public:
  // All must outlive the plan. Error(corrupt) when a blob is in no index.
  RestorePlan(const repo::IndexedRepository& repository, const std::vector<view::ImageChunk>& chunks,
              const view::ZeroBlobs& zeros);
  // Before anything is overwritten: all blobs lie in packs that are there, as long as they must be. One listing.
  // Error(corrupt) with the first that does not.
  void require_stored() const;
  std::optional<RestoreJob> next();
  std::optional<Extent> next_zeros();

 private:
  struct Entry {
    std::uint32_t pack = 0;    // in order of first need
    std::uint32_t offset = 0;  // in the pack
    std::uint32_t chunk = 0;
  };
  const repo::IndexedRepository& repository_;
  const std::vector<view::ImageChunk>& chunks_;
  std::vector<Entry> entries_;
  std::vector<Extent> zeros_;
  std::mutex mutex_;
  std::size_t next_ = 0, next_zeros_ = 0;
};

}  // namespace respaldo::restore
