// What damage means: volumes, files and backups rather than packs and blobs.
#pragma once

#include <mutex>
#include <set>
#include <stop_token>
#include <utility>
#include <vector>

#include "repo/repository.h"
#include "verify/findings.h"

namespace respaldo::verify {

// Blobs found damaged or missing at one place. Thread-safe.
class DamagedPlaces {
 public:
  void add(const repo::PackId& pack, const repo::PackedBlob& blob) {
    std::lock_guard lock(mutex_);
    places_.insert({blob.type, blob.id, pack});
  }
  void add(const repo::PackContents& pack) {
    for (const repo::PackedBlob& blob : pack.blobs) add(pack.pack, blob);
  }
  bool empty() const { return places_.empty(); }
  // Of all copies that the index tells, none is sound; a blob that no index tells is lost as well.
  bool lost(const repo::Index& index, repo::BlobType type, const repo::BlobId& id) const;

 private:
  std::mutex mutex_;
  std::set<std::tuple<repo::BlobType, repo::BlobId, repo::PackId>> places_;
};

// A finding "lost" for each file, image and folder that can no longer be brought back whole, with the backups
// that have it. Files that several backups share are told once.
void tell_losses(const repo::IndexedRepository& repository, const std::vector<repo::NamedSnapshot>& backups,
                 const DamagedPlaces& damaged, Findings& findings, const std::stop_token& stop);

}  // namespace respaldo::verify
