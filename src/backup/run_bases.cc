#include "backup/run_bases.h"

#include <fmt/format.h>

#include "backup/quick.h"
#include "base/error.h"
#include "os/thread_group.h"

namespace respaldo::backup {

namespace {

// A volume that nobody has in use, as it seems. But a guest that was saved goes on from its memory: its
// kernel knows of no snapshot that was made meanwhile, and writes past it.
std::string why_unclean(const Job& job) {
  if (job.lease->how() != "direct") return "";
  for (const FileView& view : job.files.views)
    if (view.reader->facts().journal != fs::JournalState::none)
      return fmt::format(
          "the filesystem in {} was not left clean: a machine that was saved or hibernated, and goes on "
          "later, "
          "would write without the base's knowledge",
          view.folder);
  return "";
}

}  // namespace

std::unique_ptr<engine::SnapshotLease> RunBases::hold(const engine::VolumeName& name,
                                                      const engine::AcquireOptions& how) {
  engine::BaseEngine* bases = engine::base_engine(run_.engine);
  return wanted() && bases != nullptr ? bases->acquire_for_base(name, how) : run_.engine.acquire(name, how);
}

void RunBases::choose(std::vector<Job>& jobs, const std::optional<repo::NamedSnapshot>& parent) {
  for (Job& job : jobs) {
    os::throw_if_stopped(run_.stop);
    engine::BaseKeeper* keeper = engine::keeper(*job.lease);
    if (keeper != nullptr) job.bases = keeper->bases();
    const std::string unclean = why_unclean(job);
    if (wanted()) prepare_to_keep(job, keeper, unclean);
    if (run_.options.full) {
      if (!job.bases.empty()) job.record.refused = "a full backup was asked for";
      continue;
    }
    if (!job.bases.empty()) look_for_proof(job, unclean);
    if (!job.base.parent && run_.options.quick && parent) trust_inodes_of(job, *parent);
    if (job.base.parent) job.record.used = job.base.used;
  }
}

void RunBases::prepare_to_keep(Job& job, const engine::BaseKeeper* keeper, const std::string& unclean) {
  std::string problem;
  if (!unclean.empty()) {
    problem = unclean + "; shut it down, and back up again";
  } else if (keeper == nullptr) {
    problem = "this engine keeps none";
  } else if (const auto identity = keeper->as_base(); !identity) {
    problem = keeper->base_problem();
  } else if (const GroupText& group = group_now(job.name.vg); !group.problem.empty()) {
    problem = group.problem;
  } else {
    job.token = new_base_token(run_.started);
    job.record.kept = facts_of(*identity, group.text, job.name.lv);
    job.record.kept->token = *job.token;
    return;
  }
  run_.warnings.push_back(
      fmt::format("{}: no base is kept for the next backup: {}", job.name.str(), problem));
}

void RunBases::look_for_proof(Job& job, const std::string& unclean) {
  job.record.refused = unclean;
  if (!unclean.empty()) return;
  const GroupText& group = group_now(job.name.vg);
  job.record.refused = group.problem;
  if (!group.problem.empty()) return;
  const BaseSearch search{run_.repository,       run_.known, *job.lease, group.text, job.name.lv, run_.cutter,
                          run_.options.hostname, removed_};
  job.base = choose_base(search, job.bases);
  job.record.refused = job.base.refused;
}

const RunBases::GroupText& RunBases::group_now(const std::string& vg) {
  const auto [at, is_new] = groups_.try_emplace(vg);
  try {
    if (is_new) at->second.text = run_.engine.vg_config(vg);
  } catch (const Error& error) {
    at->second.problem = fmt::format("the metadata of {} cannot be read again: {}", vg, error.what());
  }
  return at->second;
}

void RunBases::trust_inodes_of(Job& job, const repo::NamedSnapshot& parent) {
  try {
    QuickTrust trust = trust_inodes(run_.repository, parent, "/" + job.name.str(), job.facts.lv_uuid,
                                    job.files, job.plan, run_.stop);
    job.base.parent = std::move(trust.parent);
    if (!trust.refused.empty())
      job.record.refused += (job.record.refused.empty() ? "" : "; ") + trust.refused;
  } catch (const Error& error) {
    run_.warnings.push_back(fmt::format("{}: everything is read: the backup {} is damaged: {}",
                                        job.name.str(), parent.id.short_hex(), error.what()));
  }
  if (job.base.parent) job.base.used = {"quick", "", parent.id.hex(), job.base.parent->changed.total(), 0};
}

bool RunBases::still_possible(Job& job) {
  const engine::BaseKeeper* keeper = engine::keeper(*job.lease);
  if (keeper->as_base()) return true;
  run_.warnings.push_back(
      fmt::format("{}: no base is kept for the next backup: {}", job.name.str(), keeper->base_problem()));
  job.token.reset();
  job.record.kept.reset();
  return false;
}

void RunBases::keep(Job& job) {
  try {
    engine::keeper(*job.lease)->keep_as_base(*job.token);
    job.base_kept = true;
    for (const auto& old : job.bases) {
      remember_removed(old->identity().token);
      old->remove();
      // One of this repository was of use until now.
      if (!holds_backup_of(run_.repository, run_.known, old->identity().token))
        run_.warnings.push_back(
            fmt::format("{}: the base {} was removed for the new one; its backup is not in this repository: "
                        "it was forgotten, or made in "
                        "another one. Who saves a volume into two repositories in turn reads everything each "
                        "time: use --keep-base for "
                        "one of them alone",
                        job.name.str(), old->name()));
    }
  } catch (const std::exception& error) {  // a stop, too
    run_.warnings.push_back(fmt::format(
        "{}: {}: {}", job.name.str(), job.base_kept ? "an old base stays" : "no base is kept", error.what()));
  }
}

void RunBases::remember_removed(const std::string& token) {
  try {
    removed_.add(token);
  } catch (const Error& error) {
    // It is proven in other ways, too.
    run_.progress.note(
        fmt::format("it cannot be remembered that the old base was removed: {}", error.what()));
  }
}

}  // namespace respaldo::backup
