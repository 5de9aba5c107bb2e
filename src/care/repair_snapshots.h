// Backups written anew without what is lost. restic's `repair snapshots`, and images that keep their size.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repo/lock.h"
#include "repo/repository.h"

namespace respaldo::care {

struct RepairSnapshotsOptions {
  bool forget = false;  // remove the originals
  bool dry_run = false;
  bool forget_unreadable = true;  // with `forget`: backups of which nothing can be read go, too
};

struct RepairedBackup {
  repo::SnapshotId id;
  std::optional<repo::SnapshotId> replacement;  // absent: nothing is left, or a dry run
  std::vector<std::string> losses;  // "/vg0/root/image.raw: 1.00 MiB at byte 4194304 is zeros now"
  bool root_lost = false;
};

struct RepairSnapshotsReport {
  std::uint64_t examined = 0;
  std::vector<RepairedBackup> backups;        // those with losses
  std::vector<std::string> unreadable_files;  // backups' own objects
};

// A blob counts as lost when no index tells it, or when the packs that hold it are missing or too short.
// Folders that cannot be read become empty, files lose what is lost of them; an image keeps its size where
// the length of what is lost is known, with zeros in its place, told in volume.json; otherwise it goes. New
// backups have the tag "repaired". Error(refused) when parity can heal what would be given up, or knows index
// files that are not there and might tell it. REQUIRES an exclusive lock.
RepairSnapshotsReport repair_snapshots(repo::Repository& repository,
                                       const std::vector<repo::NamedSnapshot>& backups,
                                       const RepairSnapshotsOptions& options, repo::RepoLock* lock,
                                       Progress& progress, const std::stop_token& stop);

// Names of backups' own objects that are damaged (not those that the machine fails to read).
std::vector<std::string> unreadable_backups(repo::Repository& repository);

}  // namespace respaldo::care
