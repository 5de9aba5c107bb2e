// Making the best of damage: indexes, packs and backups that still hold what can be read. restic's `repair`.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/extent.h"
#include "base/progress.h"
#include "care/index_rewrite.h"
#include "repo/lock.h"
#include "repo/repository.h"

namespace respaldo::care {

struct RepairIndexOptions {
  bool read_all_packs = false;  // trust no index file
  bool dry_run = false;
  unsigned threads = 0;
};
struct RepairIndexReport {
  std::uint64_t packs_read = 0;               // whose headers were read
  std::vector<repo::PackId> added;            // were in no index
  std::vector<repo::PackId> corrected;        // the index told other blobs than the pack itself
  std::vector<repo::PackId> missing;          // dropped: their files are not there
  std::vector<std::string> unreadable_packs;  // with reasons; what the index tells of them stays
  std::vector<std::string> unreadable_files;  // index files that went
  IndexFiles index;
  bool changed() const {
    return !added.empty() || !corrected.empty() || !missing.empty() || !unreadable_files.empty();
  }
};
// Makes the index tell what the packs hold: by their own headers where no index file does, or where it
// disagrees with a pack's size. Error(refused) when parity can heal what would be dropped. REQUIRES an
// exclusive lock; `lock` may be null when nobody else knows the repository.
RepairIndexReport repair_index(repo::Repository& repository, const RepairIndexOptions& options,
                               repo::RepoLock* lock, Progress& progress, const std::stop_token& stop);

struct LostBlob {
  repo::BlobType type = repo::BlobType::data;
  repo::BlobId id;
  repo::PackId pack;
};
struct RepairPacksReport {
  std::uint64_t salvaged = 0;  // blobs, moved to new packs
  std::vector<LostBlob> lost;  // in no other pack either
  // What the medium did not give back of the packs: zeros in the copies.
  std::vector<std::pair<repo::PackId, ExtentSet>> unreadable;
  IndexFiles index;
};
// Moves what can still be read of these packs into new ones, and removes them. Before a pack goes, `keep` is
// given its bytes. The index goes on telling what is lost, as blobs of a pack that is missing:
// repair_snapshots needs their lengths, and repair_index drops them afterwards. Error(not_found) when there
// is no such pack, Error(refused) when parity can heal one of them, Error(corrupt) when nothing tells what one of them
// holds; what only could not be reached is an error, too, and no loss. REQUIRES an exclusive lock.
RepairPacksReport repair_packs(repo::Repository& repository, const std::vector<repo::PackId>& packs,
                               const std::function<void(const repo::PackId&, ByteView)>& keep,
                               repo::RepoLock* lock, Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::care
