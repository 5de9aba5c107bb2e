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

// The options that keep by age, and so depend on the newest date, each alone: a tail of years does not speak for the days
// of last month.
std::vector<RetentionPolicy> by_age(const RetentionPolicy& policy) {
  std::vector<RetentionPolicy> each;
  for (const auto option : {&RetentionPolicy::within, &RetentionPolicy::within_hourly, &RetentionPolicy::within_daily,
                            &RetentionPolicy::within_weekly, &RetentionPolicy::within_monthly,
                            &RetentionPolicy::within_yearly}) {
    RetentionPolicy alone;
    alone.*option = policy.*option;
    if (!alone.empty()) each.push_back(alone);
  }
  return each;
}

std::string day(const Judged& judged) { return repo::format_time(judged.backup.snapshot.time).substr(0, 10); }

// A clock that went a year ahead, and still is, would make most others too old. `judged` is newest first.
void require_no_gap(const BackupGroup& group, const std::vector<Judged>& judged,
                    const RetentionPolicy& policy, const repo::Timestamp& now) {
  const auto newest = std::ranges::find(judged, false, &Judged::misdated);
  if (newest == judged.end()) return;
  const auto seconds = [](const Judged& one) { return one.backup.snapshot.time.seconds; };
  for (auto later = newest; std::next(later) != judged.end(); ++later) {
    const auto older = std::next(later);
    if (older->misdated) return;  // behind: the oldest of all
    // A policy of years leaves such gaps behind, long ago.
    if (seconds(*newest) - seconds(*later) > kClockNews) return;
    const std::int64_t gap = seconds(*later) - seconds(*older);
    if (gap <= kClockGap) continue;
    std::vector<repo::NamedSnapshot> before;
    for (auto it = older; it != judged.end(); ++it) before.push_back(it->backup);
    for (const RetentionPolicy& option : by_age(policy)) {
      const std::vector<Judged> alone = apply_policy(before, option, now);
      std::size_t wanted = 0, lost = 0;
      for (std::size_t i = 0; i < alone.size(); ++i) {
        wanted += alone[i].keep();
        lost += alone[i].keep() && !older[static_cast<std::ptrdiff_t>(i)].keep();
      }
      // What falls out of a window night by night is less.
      if (lost * 2 <= wanted) continue;
      throw Error(
          ErrorKind::refused,
          fmt::format("{}: backup {} is of {}, {} days after the one before it ({}, of {}), and would make {} backup{} "
                      "before it too old to keep; nothing was forgotten",
                      printable(group.describe()), later->backup.id.short_hex(), day(*later), gap / 86400,
                      older->backup.id.short_hex(), day(*older), lost, lost == 1 ? "" : "s"),
          "if all dates are right, repeat with --trust-clock, and with --host and --path if others are not to be "
          "touched; if a clock was wrong, set it, and `respaldo forget ID` what has the wrong date");
    }
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
    const auto sane = [](const Judged& j) { return !j.misdated; };
    const auto wanted = [](const Judged& j) { return !j.misdated && j.keep(); };
    if (!options.policy.empty() && std::ranges::any_of(judged, sane) && std::ranges::none_of(judged, wanted))
      throw Error(ErrorKind::refused,
                  fmt::format("the policy would forget every backup of {}; nothing was forgotten",
                              printable(group.describe())),
                  "keep at least one (--keep-last 1), or name the backups by their IDs");
    if (!options.trust_clock) require_no_gap(group, judged, options.policy, now);
    for (const Judged& one : judged) {
      if (one.misdated) plan.misdated.push_back(one.backup);
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
