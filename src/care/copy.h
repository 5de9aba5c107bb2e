// Backups from one repository into another.
#pragma once

#include <functional>
#include <stop_token>
#include <vector>

#include "base/progress.h"
#include "repo/repository.h"

namespace respaldo::care {

struct CopiedBackup {
  repo::SnapshotId from, to;
  bool was_there = false;  // copied by an earlier run: `to` is that copy
};
struct CopyReport {
  std::vector<CopiedBackup> backups;
  std::uint64_t new_blobs = 0, new_bytes = 0, stored_bytes = 0;  // plain and stored size of what was copied
};

// Copies the backups, oldest first: each blob that `to` lacks is opened, hashed, and sealed with the key of
// `to`, compressed as it was. A backup's own object is written when all that it needs is durable, so a run
// that was stopped is gone on with by the next. A backup that was copied before is known by its original's ID
// and its facts, as in restic. REQUIRES a shared lock on both; `still_locked` throws when that of `to` is lost, and is
// asked before each backup becomes visible. Error(corrupt) naming the blob that cannot be read.
CopyReport copy_backups(const repo::IndexedRepository& from, const repo::IndexedRepository& to,
                        const std::vector<repo::NamedSnapshot>& backups, unsigned threads, Progress& progress,
                        const std::stop_token& stop, const std::function<void()>& still_locked = {});

}  // namespace respaldo::care
