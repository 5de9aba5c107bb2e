// Which backups a retention policy keeps: restic's rules (docs/formats/restic.md "forget"). Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "repo/repository.h"

namespace respaldo::care {

// A calendar length: "1y5m7d2h".
struct KeepDuration {
  int years = 0, months = 0, days = 0, hours = 0;
  bool zero() const { return *this == KeepDuration{}; }
  std::string str() const;
  static KeepDuration parse(std::string_view text);  // Error(usage)
  friend bool operator==(const KeepDuration&, const KeepDuration&) = default;
};

inline constexpr int kUnlimited = -1;
// "7" or "unlimited"; Error(usage).
int parse_keep_count(std::string_view text);
// "a,b": all of these tags; empty elements stand for "no tags at all".
std::vector<std::string> parse_tag_list(std::string_view text);

struct RetentionPolicy {
  int last = 0, hourly = 0, daily = 0, weekly = 0, monthly = 0, yearly = 0;  // how many; kUnlimited: all
  // Relative to the newest backup that is not in the future.
  KeepDuration within{}, within_hourly{}, within_daily{}, within_weekly{}, within_monthly{}, within_yearly{};
  std::vector<std::vector<std::string>> tags{};  // kept when it has all tags of one of the lists
  bool empty() const;
  std::string describe() const;  // "7 daily, 4 weekly backups, and all within 1m"
};

// A backup of the group and why it is kept; no reasons: the policy does not want it.
struct Judged {
  repo::NamedSnapshot backup;
  std::vector<std::string> reasons{};
  bool misdated = false;  // its date cannot be right
  bool keep() const { return !reasons.empty(); }
};

// Backups dated later than this after `now` come from a clock that was wrong, and so do those of ours that are older
// than the program (repo::kFirstRelease). They are kept, and counted in no bucket: else one of them would push all
// others out of "keep the newest", or the newest of all would go as the oldest.
using repo::kClockTolerance;

// Newest first. Calendar buckets use the zone each backup's time was written with, as restic's do. The oldest
// backup of the group is kept too while a bucket has counts left (restic 0.16 and later), and, unlike with restic, the
// newest that is whole where all newer ones that are kept are incomplete.
std::vector<Judged> apply_policy(std::vector<repo::NamedSnapshot> group, const RetentionPolicy& policy,
                                 const repo::Timestamp& now);

// A moment that many calendar units earlier, in that time's own zone.
repo::Timestamp before(const repo::Timestamp& time, const KeepDuration& length);

bool has_tags(const repo::Snapshot& snapshot, const std::vector<std::string>& tags);

}  // namespace respaldo::care
