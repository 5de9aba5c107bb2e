// Removing what no backup needs. docs/decisions "order of prune".
#pragma once

#include <stop_token>
#include <vector>

#include "base/progress.h"
#include "care/index_rewrite.h"
#include "care/prune_plan.h"
#include "repo/lock.h"
#include "repo/repository.h"

namespace respaldo::care {

struct PruneOptions {
  UnusedLimit max_unused{};
  std::optional<std::uint64_t> max_repack_size{};
  bool repack_cacheable_only = false, repack_uncompressed = false;
  bool dry_run = false;
  bool no_backups = false;  // allows that there is none left, which may be a store's wrong answer as well
  std::uint64_t pack_size = 16U << 20;
  unsigned threads = 0;                     // 0: one for each core
  std::vector<repo::SnapshotId> without{};  // treated as forgotten (for a dry run)
};

struct PruneReport {
  PruneStats stats;
  IndexFiles index;
  std::uint64_t missing_packs = 0;      // that the index named and nobody needed
  std::vector<std::string> warnings{};  // packs that were found damaged
};

// A kill at any step leaves a repository that is whole: new packs, then an index of them, then the old index
// files without what goes, then the old files go, each durable before the next. `lock` is the exclusive lock
// that the caller holds: when it is lost, nothing more is removed. Errors as find_used_blobs, plan_prune,
// prove_kept_copies and repack: then nothing was removed.
PruneReport prune(repo::Repository& repository, const PruneOptions& options, repo::RepoLock* lock,
                  Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::care
