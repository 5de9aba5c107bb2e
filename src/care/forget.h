// Backups that a policy does not want, and how they go.
#pragma once

#include <span>
#include <stop_token>
#include <vector>

#include "base/progress.h"
#include "care/policy.h"
#include "care/selection.h"

namespace respaldo::care {

struct ForgetOptions {
  BackupFilter filter{};
  Grouping grouping{};
  RetentionPolicy policy{};
  bool allow_remove_all = false;  // an empty policy may forget all that the filter selects
  bool trust_clock = false;       // a gap of more than kClockGap among the dates is believed
};

// Longer pauses than this between two backups of a group look like a clock that was ahead for the later one.
inline constexpr std::int64_t kClockGap = std::int64_t{366} * 24 * 3600;  // seconds
// ... as long as all backups after the pause are of so short a time.
inline constexpr std::int64_t kClockNews = std::int64_t{365} * 24 * 3600;  // seconds

struct ForgetGroup {
  BackupGroup group;  // its backups were moved to `judged`
  std::vector<Judged> judged;
};

struct ForgetPlan {
  std::vector<ForgetGroup> groups;
  std::vector<repo::NamedSnapshot> remove;  // oldest first
  std::vector<repo::NamedSnapshot> misdated;  // kept because their date cannot be right
};

// Decides; removes nothing. Error(refused) when there is no policy, when it keeps nothing of some group,
// or when more than half of what a "within" option keeps of the backups before a gap of kClockGap would go only because
// those behind the gap, of the last kClockNews, moved its window.
ForgetPlan plan_forget(std::vector<repo::NamedSnapshot> backups, const ForgetOptions& options,
                       const repo::Timestamp& now);

// Removes the backups' own objects; durable when it returns. REQUIRES an exclusive lock.
void remove_backups(repo::Repository& repository, std::span<const repo::NamedSnapshot> backups,
                    Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::care
