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

// Only what keeps by age, and so depends on the newest date.
RetentionPolicy by_age(RetentionPolicy policy) {
  policy.last = policy.hourly = policy.daily = policy.weekly = policy.monthly = policy.yearly = 0;
  policy.tags.clear();
  return policy;
}

// `judged` is newest first. A clock that was a year ahead for one backup, and still is, would make all others old.
void require_no_gap(const BackupGroup& group, const std::vector<Judged>& judged, const RetentionPolicy& policy,
                    const repo::Timestamp& now) {
  const RetentionPolicy aged = by_age(policy);
  if (aged.empty()) return;
  for (std::size_t i = 1; i < judged.size(); ++i) {
    const Judged& later = judged[i - 1];
    const std::int64_t gap = later.backup.snapshot.time.seconds - judged[i].backup.snapshot.time.seconds;
    if (later.in_future || gap <= kClockGap) continue;
    std::vector<repo::NamedSnapshot> older;
    for (std::size_t j = i; j < judged.size(); ++j) older.push_back(judged[j].backup);
    const std::vector<Judged> alone = apply_policy(std::move(older), aged, now);
    std::size_t lost = 0;
    for (std::size_t j = 0; j < alone.size(); ++j) lost += alone[j].keep() && !judged[i + j].keep();
    // One of many is what a policy of years drops every year.
    if (lost == 0 || (lost == 1 && i > 1)) continue;
    throw Error(ErrorKind::refused,
                fmt::format("{}: backup {} is dated {} days after the one before, and would make {} backup{} before it "
                            "too old to keep; nothing was forgotten",
                            printable(group.describe()), later.backup.id.short_hex(), gap / 86400, lost,
                            lost == 1 ? "" : "s"),
                fmt::format("was the clock wrong? Then set it, and `respaldo forget {}`, and what else was made with that "
                            "date; if it was right, repeat with --trust-clock",
                            later.backup.id.short_hex()));
  }
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
    if (!options.trust_clock) require_no_gap(group, judged, options.policy, now);
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
