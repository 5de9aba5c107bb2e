#include "care/forget.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>

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

std::string day(const Judged& judged) { return repo::format_time(judged.backup.snapshot.time).substr(0, 10); }

// `judged` is newest first. A clock that went a year ahead some nights ago, and still is, would make most others
// too old. What is older news was confirmed, or kept, long ago.
void require_no_gap(const BackupGroup& group, const std::vector<Judged>& judged,
                    const RetentionPolicy& policy, const repo::Timestamp& now) {
  const RetentionPolicy aged = by_age(policy);
  const auto newest = std::ranges::find(judged, false, &Judged::in_future);
  if (aged.empty() || newest == judged.end()) return;
  const auto seconds = [](const Judged& one) { return one.backup.snapshot.time.seconds; };
  for (auto later = newest; std::next(later) != judged.end(); ++later) {
    const auto older = std::next(later);
    if (seconds(*newest) - seconds(*later) > kClockNews) return;
    const std::int64_t gap = seconds(*later) - seconds(*older);
    if (gap <= kClockGap) continue;
    std::vector<repo::NamedSnapshot> before;
    for (auto it = older; it != judged.end(); ++it) before.push_back(it->backup);
    const std::vector<Judged> alone = apply_policy(std::move(before), aged, now);
    std::size_t wanted = 0, lost = 0;
    for (std::size_t i = 0; i < alone.size(); ++i) {
      wanted += alone[i].keep();
      lost += alone[i].keep() && !older[static_cast<std::ptrdiff_t>(i)].keep();
    }
    // What a policy of years drops night by night is less.
    if (lost == 0 || lost * 2 < wanted) continue;
    throw Error(
        ErrorKind::refused,
        fmt::format("{}: backup {} is of {}, {} days after the one before, of {}, and would make {} backup{} before "
                    "it too old to keep; nothing was forgotten",
                    printable(group.describe()), later->backup.id.short_hex(), day(*later), gap / 86400, day(*older),
                    lost, lost == 1 ? "" : "s"),
        fmt::format("if the clock was wrong, set it, and remove what was made with the wrong date: `respaldo forget "
                    "{}`; if the date is right, repeat once with --trust-clock (a job's own words: `respaldo run JOB "
                    "--dry-run`)",
                    later->backup.id.short_hex()));
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
