// The bases of a run: which of them counts for the increment, and which of its snapshots become new ones.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "backup/backup.h"
#include "backup/volume_job.h"
#include "base/progress.h"
#include "engine/volume_engine.h"
#include "journal/removed_bases.h"
#include "repo/repository.h"

namespace respaldo::backup {

// References must outlive it. What a base cannot do for the backup is a warning, and the reason stands in the
// job's record.
class RunBases {
 public:
  struct Run {
    engine::VolumeEngine& engine;
    const repo::IndexedRepository& repository;
    const BackupOptions& options;
    const std::vector<repo::NamedSnapshot>& known;  // the repository's backups
    const std::string& cutter;                      // cutter_name() of this repository
    repo::Timestamp started;
    Progress& progress;                  // for notes
    std::vector<std::string>& warnings;  // added to
    std::stop_token stop;
  };
  explicit RunBases(Run run) : run_(std::move(run)), removed_(run_.options.state) {}

  // Holds a volume still with a snapshot; one that can become a base, where bases shall be kept.
  std::unique_ptr<engine::SnapshotLease> hold(const engine::VolumeName& name,
                                              const engine::AcquireOptions& how);

  // Which chunks need not be read (job.base), and whether the snapshots shall be bases for the next run
  // (job.token).
  void choose(std::vector<Job>& jobs, const std::optional<repo::NamedSnapshot>& parent);

  // Before the backup records a base; then without one, when it is false. The guard may have extended a
  // snapshot onto another disk: a base that is recorded and not kept would be missed later. REQUIRES
  // job.token
  bool still_possible(Job& job);

  // When the backup is listed: from now on its snapshot may be trusted as a base. The old ones go last, so
  // that there is always one. The lease is to be released then. REQUIRES job.token
  void keep(Job& job);

 private:
  bool wanted() const { return run_.options.keep_base && !run_.options.dry_run; }
  // The group's metadata with the run's snapshots, which the configuration that is saved does not have.
  struct GroupText {
    std::string text, problem;
  };
  const GroupText& group_now(const std::string& vg);
  void prepare_to_keep(Job& job, const engine::BaseKeeper* keeper, const std::string& unclean);
  void look_for_proof(Job& job, const std::string& unclean);
  void trust_inodes_of(Job& job, const repo::NamedSnapshot& parent);
  void remember_removed(const std::string& token);

  const Run run_;
  const journal::RemovedBases removed_;
  std::map<std::string, GroupText> groups_;
};

}  // namespace respaldo::backup
