#include "care/forget.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "os/thread_group.h"

namespace respaldo::care {

namespace {

void require_policy(const ForgetOptions& options) {
  if (!options.policy.empty()) return;
  if (!options.allow_remove_all)
    throw Error(ErrorKind::usage, "no policy is given: nothing is forgotten",
                "say what to keep, as in --keep-daily 7 --keep-weekly 4, or name backups by their IDs");
  if (options.filter.empty())
    throw Error(ErrorKind::usage, "--unsafe-allow-remove-all needs a filter",
                "say of which host, volume or tag all backups are to be forgotten");
}

}  // namespace

ForgetPlan plan_forget(std::vector<repo::NamedSnapshot> backups, const ForgetOptions& options,
                       const repo::Timestamp& now) {
  require_policy(options);
  std::erase_if(backups,
                [&](const repo::NamedSnapshot& backup) { return !options.filter.matches(backup.snapshot); });
  ForgetPlan plan;
  for (BackupGroup& group : group_backups(std::move(backups), options.grouping)) {
    std::vector<Judged> judged = apply_policy(std::move(group.backups), options.policy, now);
    group.backups.clear();
    const auto sane = [](const Judged& j) { return !j.in_future; };
    const auto wanted = [](const Judged& j) { return !j.in_future && j.keep(); };
    if (!options.policy.empty() && std::ranges::any_of(judged, sane) && std::ranges::none_of(judged, wanted))
      throw Error(ErrorKind::refused,
                  fmt::format("the policy would forget every backup of {}; nothing was forgotten",
                              printable(group.describe())),
                  "keep at least one (--keep-last 1), or name the backups by their IDs");
    for (const Judged& one : judged) {
      if (one.in_future) plan.future.push_back(one.backup);
      if (!one.keep()) plan.remove.push_back(one.backup);
    }
    plan.groups.push_back({std::move(group), std::move(judged)});
  }
  std::ranges::stable_sort(plan.remove, {}, [](const repo::NamedSnapshot& backup) {
    return std::pair(backup.snapshot.time.seconds, backup.snapshot.time.nanoseconds);
  });
  return plan;
}

void remove_backups(repo::Repository& repository, std::span<const repo::NamedSnapshot> backups,
                    Progress& progress, const std::stop_token& stop) {
  const ProgressPhase phase(progress, "forgetting", 0);
  for (const repo::NamedSnapshot& backup : backups) {
    os::throw_if_stopped(stop);
    repository.backend().remove({store::FileType::snapshot, backup.id.hex()});
  }
  // What comes back after a power cut must not need packs that a prune has removed meanwhile.
  repository.backend().sync();
}

}  // namespace respaldo::care
