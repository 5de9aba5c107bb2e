#include "care/policy.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "care/forget.h"

namespace respaldo::care {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const repo::Timestamp kNow = *repo::parse_time("2026-11-25T12:00:00Z");

repo::NamedSnapshot backup(const std::string& time, std::vector<std::string> tags = {}) {
  repo::NamedSnapshot named;
  static std::uint8_t number = 0;
  named.id.bytes[0] = ++number;
  named.snapshot.time = repo::parse_time(time).value();
  named.snapshot.tags = std::move(tags);
  named.snapshot.hostname = "host";
  named.snapshot.paths = {"/dev/vg0/root"};
  return named;
}

std::vector<repo::NamedSnapshot> daily(int count) {
  std::vector<repo::NamedSnapshot> all;
  for (int day = 1; day <= count; ++day) all.push_back(backup(fmt::format("2026-11-{:02}T03:00:00Z", day)));
  return all;
}

// Day of the month of what is kept.
std::vector<int> kept_days(const std::vector<repo::NamedSnapshot>& group, const RetentionPolicy& policy) {
  std::vector<int> days;
  for (const Judged& one : apply_policy(group, policy, kNow))
    if (one.keep()) days.push_back(std::stoi(repo::format_time(one.backup.snapshot.time).substr(8, 2)));
  return days;
}

TEST(Policy, last_keeps_the_newest) {
  EXPECT_THAT(kept_days(daily(9), {.last = 2}), ElementsAre(9, 8));
  EXPECT_EQ(kept_days(daily(9), {.last = kUnlimited}).size(), 9U);
}

TEST(Policy, an_incomplete_backup_never_replaces_the_last_whole_one) {
  auto group = daily(5);
  group[4].snapshot.incomplete = true;
  EXPECT_THAT(kept_days(group, {.last = 1}), ElementsAre(5, 4));
  group[3].snapshot.incomplete = true;
  EXPECT_THAT(kept_days(group, {.last = 1}), ElementsAre(5, 3));
  EXPECT_THAT(kept_days(group, {.last = 3}), ElementsAre(5, 4, 3));
  const auto judged = apply_policy(group, {.last = 1}, kNow);
  EXPECT_THAT(judged[2].reasons, ElementsAre("newest whole snapshot"));
  // Where the policy keeps nothing newer, it wants none of them.
  group[1].snapshot.tags = {"gold"};
  EXPECT_THAT(kept_days(group, {.tags = {{"gold"}}}), ElementsAre(2));
  // Nobody has to be whole.
  for (repo::NamedSnapshot& one : group) one.snapshot.incomplete = true;
  EXPECT_THAT(kept_days(group, {.last = 1}), ElementsAre(5));
}

TEST(Policy, a_week_begins_on_monday) {
  // 22 November 2026 is a Sunday.
  EXPECT_THAT(kept_days(daily(24), {.weekly = 2}), ElementsAre(24, 22));
}

TEST(Policy, the_oldest_stays_while_counts_are_left) {
  EXPECT_THAT(kept_days(daily(5), {.monthly = 3}), ElementsAre(5, 1));
  const auto judged = apply_policy(daily(5), {.monthly = 3}, kNow);
  EXPECT_THAT(judged.back().reasons, ElementsAre("oldest monthly snapshot"));
}

TEST(Policy, within_counts_from_the_newest_backup) {
  EXPECT_THAT(kept_days(daily(20), {.within = KeepDuration::parse("2d1h")}), ElementsAre(20, 19, 18));
  EXPECT_THAT(kept_days(daily(20), {.within = KeepDuration::parse("2d")}), ElementsAre(20, 19));
}

TEST(Policy, days_are_those_of_the_zone_that_the_backup_was_made_in) {
  const std::vector<repo::NamedSnapshot> both = {backup("2026-11-20T23:30:00-05:00"),
                                                 backup("2026-11-20T22:30:00-05:00")};
  EXPECT_EQ(kept_days(both, {.daily = 1}).size(), 1U);
}

TEST(Policy, a_day_that_the_month_lacks_runs_over) {
  const auto march = *repo::parse_time("2026-03-31T10:00:00Z");
  EXPECT_EQ(repo::format_time(before(march, KeepDuration::parse("1m"))), "2026-03-03T10:00:00Z");
  EXPECT_EQ(repo::format_time(before(march, KeepDuration::parse("1y3m1d1h"))), "2024-12-30T09:00:00Z");
}

TEST(Policy, backups_from_the_future_are_kept_and_count_for_nothing) {
  auto group = daily(5);
  group.push_back(backup("2099-01-01T00:00:00Z"));
  const auto judged =
      apply_policy(group, {.last = 1, .yearly = 1, .within = KeepDuration::parse("1d1h")}, kNow);
  EXPECT_TRUE(judged[0].misdated);
  EXPECT_TRUE(judged[0].keep());
  EXPECT_THAT(judged[1].reasons, Contains("last snapshot"));
  EXPECT_TRUE(judged[2].keep());
  EXPECT_FALSE(judged[3].keep());
}

TEST(Policy, backups_of_a_clock_that_lost_its_battery_are_kept_and_count_for_nothing) {
  auto group = daily(5);
  group.push_back(backup("2000-01-01T00:00:07Z"));
  group.back().snapshot.program_version = "respaldo 0.1.0";
  const RetentionPolicy policy{.last = 2, .yearly = 2, .within = KeepDuration::parse("1d1h")};
  const auto judged = apply_policy(group, policy, kNow);
  EXPECT_TRUE(judged[5].misdated);
  EXPECT_TRUE(judged[5].keep());
  EXPECT_TRUE(judged[4].keep()) << "the oldest of the others, while the years have counts left";
  EXPECT_FALSE(judged[3].keep());
  const ForgetPlan plan = plan_forget(group, {.policy = {.within = KeepDuration::parse("3d")}}, kNow);
  EXPECT_EQ(plan.misdated.size(), 1U);
  EXPECT_EQ(plan.remove.size(), 2U) << "no gap of years stops the others";

  // What restic made may be as old as it says.
  group.back().snapshot.program_version = "restic 0.9.0";
  EXPECT_FALSE(apply_policy(group, policy, kNow)[5].misdated);
}

TEST(Policy, tags_keep_what_has_all_of_a_list) {
  const std::vector<repo::NamedSnapshot> group = {backup("2026-11-01T00:00:00Z", {"a", "b"}),
                                                  backup("2026-11-02T00:00:00Z", {"a"}),
                                                  backup("2026-11-03T00:00:00Z")};
  EXPECT_THAT(kept_days(group, {.tags = {{"a", "b"}}}), ElementsAre(1));
  EXPECT_THAT(kept_days(group, {.tags = {{"a"}}}), ElementsAre(2, 1));
  EXPECT_THAT(kept_days(group, {.tags = {parse_tag_list("")}}), ElementsAre(3));
}

TEST(Policy, words_are_checked) {
  EXPECT_EQ(KeepDuration::parse("1y5m7d2h").str(), "1y5m7d2h");
  for (const char* bad : {"5", "d", "1w", "-1d", "1d2", "99999999999d"})
    EXPECT_THROW(KeepDuration::parse(bad), Error);
  EXPECT_EQ(parse_keep_count("unlimited"), kUnlimited);
  for (const char* bad : {"", "-1", "1x", "1.5"}) EXPECT_THROW(parse_keep_count(bad), Error);
  EXPECT_THROW(Grouping::parse("host,size"), Error);
  EXPECT_FALSE(Grouping::parse("").host);
}

TEST(Forget, nothing_goes_without_a_policy_or_when_it_keeps_nothing) {
  EXPECT_THROW(plan_forget(daily(3), {}, kNow), Error);
  EXPECT_THROW(plan_forget(daily(3), {.policy = {.tags = {{"none"}}}}, kNow), Error);
  EXPECT_THROW(plan_forget(daily(3), {.allow_remove_all = true}, kNow), Error);
  EXPECT_EQ(
      plan_forget(daily(3), {.filter = {.hosts = {"host"}}, .allow_remove_all = true}, kNow).remove.size(),
      3U);
  auto with_future = daily(3);
  with_future.push_back(backup("2099-01-01T00:00:00Z"));
  EXPECT_THROW(plan_forget(with_future, {.policy = {.tags = {{"none"}}}}, kNow), Error);
}

TEST(Forget, a_clock_that_ran_ahead_makes_nothing_too_old) {
  // The clock says 2099 now, too: only the gap tells.
  const auto later = *repo::parse_time("2099-01-01T01:00:00Z");
  auto all = daily(5);
  all.push_back(backup("2099-01-01T00:00:00Z"));
  const RetentionPolicy month{.within = KeepDuration::parse("1m")};
  EXPECT_THROW(plan_forget(all, {.policy = month}, later), Error);
  all.push_back(backup("2099-01-01T00:30:00Z"));
  EXPECT_THROW(plan_forget(all, {.policy = month}, later), Error);
  EXPECT_EQ(plan_forget(all, {.policy = month, .trust_clock = true}, later).remove.size(), 5U);
  // Counts do not depend on dates; nor is a gap a reason that moves nothing.
  EXPECT_EQ(plan_forget(all, {.policy = {.last = 3}}, later).remove.size(), 4U);
  RetentionPolicy both = month;
  both.daily = kUnlimited;
  EXPECT_THAT(plan_forget(all, {.policy = both}, later).remove, IsEmpty());
  // One good backup before any number of nights.
  all = {backup("2020-01-01T00:00:00Z"), backup("2026-11-01T00:00:00Z")};
  EXPECT_THROW(plan_forget(all, {.policy = month}, kNow), Error);
  all.push_back(backup("2026-11-02T00:00:00Z"));
  EXPECT_THROW(plan_forget(all, {.policy = month}, kNow), Error);
}

TEST(Forget, a_year_without_backups_is_confirmed_once) {
  // Two years of nights, one without, and now again: each night some of the first year become too old.
  std::vector<repo::NamedSnapshot> all;
  const auto day = [](int n) {
    repo::Timestamp time = *repo::parse_time("2023-01-01T00:00:00Z");
    time.seconds += std::int64_t{n} * 86400;
    return backup(repo::format_time(time));
  };
  for (int n = 0; n < 730; ++n) all.push_back(day(n));
  for (int n = 1100; n < 1107; ++n) all.push_back(day(n));
  const auto later = *repo::parse_time("2026-01-11T00:00:00Z");
  const RetentionPolicy policy{.within = KeepDuration::parse("2y")};
  EXPECT_THROW(plan_forget(all, {.policy = policy}, later), Error);
  const auto gone = plan_forget(all, {.policy = policy, .trust_clock = true}, later).remove;
  ASSERT_GT(gone.size(), 365U);
  std::erase_if(all, [&](const repo::NamedSnapshot& one) {
    return one.snapshot.time.seconds <= gone.back().snapshot.time.seconds;
  });
  for (int n = 1107; n < 1114; ++n) all.push_back(day(n));
  EXPECT_EQ(plan_forget(all, {.policy = policy}, *repo::parse_time("2026-01-18T00:00:00Z")).remove.size(), 7U);
  // The gaps that a policy of years leaves are of long ago.
  all = {backup("2021-12-25T00:00:00Z"), backup("2022-12-28T00:00:00Z"), backup("2023-12-31T00:00:00Z"),
         backup("2025-01-03T00:00:00Z"), backup("2026-01-06T00:00:00Z"), backup("2026-05-01T00:00:00Z")};
  const RetentionPolicy years{.within_yearly = KeepDuration::parse("4y")};
  EXPECT_EQ(plan_forget(all, {.policy = years}, *repo::parse_time("2026-05-02T00:00:00Z")).remove.size(), 2U);
}

TEST(Forget, a_tail_of_years_does_not_speak_for_last_month) {
  std::vector<repo::NamedSnapshot> all = daily(24);
  for (int year = 2016; year < 2026; ++year)
    for (int month = 1; month <= 12; ++month) all.push_back(backup(fmt::format("{}-{:02}-28T03:00:00Z", year, month)));
  const RetentionPolicy policy{.within_daily = KeepDuration::parse("30d"),
                               .within_monthly = KeepDuration::parse("10y")};
  const auto later = *repo::parse_time("2028-01-02T00:00:00Z");
  EXPECT_LT(plan_forget(all, {.policy = policy}, kNow).remove.size(), 12U);
  // However many nights it goes on.
  for (int night = 1; night < 40; ++night) {
    all.push_back(backup(fmt::format("2028-01-01T00:{:02}:00Z", night)));
    EXPECT_THROW(plan_forget(all, {.policy = policy}, later), Error);
  }
}

TEST(Forget, groups_are_judged_apart) {
  auto all = daily(3);
  all[0].snapshot.hostname = "other";
  EXPECT_THAT(plan_forget(all, {.policy = {.last = 1}}, kNow).remove.size(), 1U);
  EXPECT_THAT(plan_forget(all, {.grouping = Grouping::parse(""), .policy = {.last = 1}}, kNow).remove.size(),
              2U);
  const ForgetPlan plan = plan_forget(all, {.filter = {.hosts = {"other"}}, .policy = {.last = 1}}, kNow);
  EXPECT_THAT(plan.remove, IsEmpty());
  ASSERT_EQ(plan.groups.size(), 1U);
  EXPECT_THAT(plan.groups[0].group.describe(), HasSubstr("vg0/root"));
}

}  // namespace
}  // namespace respaldo::care
