#include "care/policy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <optional>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::care {

namespace {

using repo::NamedSnapshot;
using repo::Timestamp;

struct LocalTime {
  std::chrono::sys_days day;
  std::int64_t year;
  unsigned month, day_of_month;
  std::int64_t hour;
  std::chrono::seconds of_day;
};

LocalTime local(const Timestamp& time) {
  const std::chrono::sys_seconds point{std::chrono::seconds(time.seconds + time.zone_seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(point);
  const std::chrono::year_month_day date(day);
  const auto of_day = point - day;
  return {day,
          static_cast<int>(date.year()),
          static_cast<unsigned>(date.month()),
          static_cast<unsigned>(date.day()),
          std::chrono::duration_cast<std::chrono::hours>(of_day).count(),
          of_day};
}

// The year that the ISO week of this day belongs to is that of the week's Thursday.
std::int64_t iso_week(const LocalTime& time) {
  const unsigned weekday = std::chrono::weekday(time.day).iso_encoding();  // 1: Monday
  const auto thursday = time.day + std::chrono::days(4) - std::chrono::days(weekday);
  const std::chrono::year_month_day date(thursday);
  const auto first = std::chrono::sys_days(date.year() / std::chrono::January / 1);
  return static_cast<int>(date.year()) * std::int64_t{100} + (thursday - first).count() / 7 + 1;
}

using Bucketer = std::int64_t (*)(const LocalTime&, std::size_t number);
std::int64_t each(const LocalTime&, std::size_t number) { return static_cast<std::int64_t>(number); }
std::int64_t hour_of(const LocalTime& t, std::size_t) {
  return ((t.year * 100 + t.month) * 100 + t.day_of_month) * 100 + t.hour;
}
std::int64_t day_of(const LocalTime& t, std::size_t) {
  return (t.year * 100 + t.month) * 100 + t.day_of_month;
}
std::int64_t week_of(const LocalTime& t, std::size_t) { return iso_week(t); }
std::int64_t month_of(const LocalTime& t, std::size_t) { return t.year * 100 + t.month; }
std::int64_t year_of(const LocalTime& t, std::size_t) { return t.year; }

struct Bucket {
  int count;            // left; kUnlimited: no end
  KeepDuration within;  // instead of a count
  Bucketer bucketer;
  const char* reason;
  std::optional<std::int64_t> last{};
};

bool later(const Timestamp& a, const Timestamp& b) {
  return std::tie(a.seconds, a.nanoseconds) > std::tie(b.seconds, b.nanoseconds);
}

// Asks one bucket about a backup; `oldest`: nothing comes after it.
void ask(Bucket& bucket, const Timestamp& time, std::size_t number, bool oldest,
         const std::optional<Timestamp>& newest, std::vector<std::string>& reasons) {
  const bool by_count = bucket.within.zero();
  if (by_count && bucket.count == 0) return;
  if (!by_count && !(newest && later(time, before(*newest, bucket.within)))) return;
  const std::int64_t value = bucket.bucketer(local(time), number);
  const bool fresh = bucket.last != value;
  if (!fresh && !oldest) return;
  bucket.last = value;
  if (by_count && bucket.count > 0) --bucket.count;
  std::string reason = fmt::format("{}{}", fresh ? "" : "oldest ", bucket.reason);
  if (!by_count) reason += " " + bucket.within.str();
  reasons.push_back(std::move(reason));
}

std::optional<int> leading_number(std::string_view& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

}  // namespace

std::string KeepDuration::str() const {
  std::string text;
  for (const auto& [value, unit] :
       {std::pair(years, 'y'), std::pair(months, 'm'), std::pair(days, 'd'), std::pair(hours, 'h')})
    if (value != 0) text += fmt::format("{}{}", value, unit);
  return text;
}

KeepDuration KeepDuration::parse(std::string_view text) {
  KeepDuration duration;
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto value = leading_number(rest);
    const char unit = value && !rest.empty() ? rest[0] : '\0';
    // Longer than any calendar is a mistake.
    if (!value || *value > 100000 || (unit != 'y' && unit != 'm' && unit != 'd' && unit != 'h'))
      throw Error(ErrorKind::usage, fmt::format("{} is no length of time", printable(text)),
                  "write years, months, days and hours as in 1y5m7d2h");
    (unit == 'y'   ? duration.years
     : unit == 'm' ? duration.months
     : unit == 'd' ? duration.days
                   : duration.hours) = *value;
    rest.remove_prefix(1);
  }
  return duration;
}

int parse_keep_count(std::string_view text) {
  if (text == "unlimited") return kUnlimited;
  std::string_view rest = text;
  const auto value = leading_number(rest);
  if (!value || !rest.empty())
    throw Error(ErrorKind::usage, fmt::format("{} is not a number of backups", printable(text)),
                "write a number, or `unlimited`");
  return *value;
}

std::vector<std::string> parse_tag_list(std::string_view text) {
  std::vector<std::string> tags;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    std::string_view tag = text.substr(at, comma - at);
    while (!tag.empty() && tag.front() == ' ') tag.remove_prefix(1);
    while (!tag.empty() && tag.back() == ' ') tag.remove_suffix(1);
    tags.emplace_back(tag);
    at = comma + 1;
  }
  return tags;
}

bool RetentionPolicy::empty() const {
  return last == 0 && hourly == 0 && daily == 0 && weekly == 0 && monthly == 0 && yearly == 0 &&
         within.zero() && within_hourly.zero() && within_daily.zero() && within_weekly.zero() &&
         within_monthly.zero() && within_yearly.zero() && tags.empty();
}

std::string RetentionPolicy::describe() const {
  std::vector<std::string> parts;
  for (const auto& [count, name] :
       {std::pair(last, "newest"), std::pair(hourly, "hourly"), std::pair(daily, "daily"),
        std::pair(weekly, "weekly"), std::pair(monthly, "monthly"), std::pair(yearly, "yearly")})
    if (count != 0)
      parts.push_back(count == kUnlimited ? fmt::format("all {}", name) : fmt::format("{} {}", count, name));
  for (const auto& [length, name] :
       {std::pair(within, ""), std::pair(within_hourly, "hourly "), std::pair(within_daily, "daily "),
        std::pair(within_weekly, "weekly "), std::pair(within_monthly, "monthly "),
        std::pair(within_yearly, "yearly ")})
    if (!length.zero()) parts.push_back(fmt::format("all {}within {}", name, length.str()));
  for (const auto& list : tags) parts.push_back(fmt::format("tagged [{}]", fmt::join(list, ", ")));
  return parts.empty() ? "nothing" : fmt::format("{}", fmt::join(parts, ", "));
}

Timestamp before(const Timestamp& time, const KeepDuration& length) {
  const LocalTime at = local(time);
  // Months first, then days: a day that the month does not have runs over into the next one, as in Go.
  const std::int64_t months = at.year * 12 + (at.month - 1) - std::int64_t{length.years} * 12 - length.months;
  const std::int64_t year = months >= 0 ? months / 12 : (months - 11) / 12;
  const std::chrono::year_month first(
      std::chrono::year(static_cast<int>(std::max<std::int64_t>(year, -32767))),
      std::chrono::month(static_cast<unsigned>(months - year * 12) + 1));
  const std::chrono::sys_days day = std::chrono::sys_days(first / 1) +
                                    std::chrono::days(at.day_of_month - 1) - std::chrono::days(length.days);
  Timestamp result = time;
  result.seconds = day.time_since_epoch().count() * std::int64_t{86400} + at.of_day.count() -
                   time.zone_seconds - std::int64_t{length.hours} * 3600;
  return result;
}

bool has_tags(const repo::Snapshot& snapshot, const std::vector<std::string>& tags) {
  for (const std::string& tag : tags) {
    if (tag.empty() && snapshot.tags.empty()) return true;
    if (std::ranges::find(snapshot.tags, tag) == snapshot.tags.end()) return false;
  }
  return true;
}

namespace {

bool is_ahead(const repo::Snapshot& snapshot, const Timestamp& now) {
  return snapshot.time.seconds - now.seconds > kClockTolerance;
}
bool is_behind(const repo::Snapshot& snapshot) {
  return snapshot.program_version.starts_with("respaldo") && repo::is_before_first_release(snapshot.time);
}

}  // namespace

namespace {

// An incomplete backup may count for the policy, but never replaces the last one that has everything. Newest first.
void keep_newest_whole(std::vector<Judged>& judged) {
  bool instead = false;
  for (Judged& one : judged) {
    if (one.misdated) continue;
    if (!one.backup.snapshot.incomplete) {
      if (instead && !one.keep()) one.reasons.emplace_back("newest whole snapshot");
      return;
    }
    instead |= one.keep();
  }
}

}  // namespace

std::vector<Judged> apply_policy(std::vector<NamedSnapshot> group, const RetentionPolicy& policy,
                                 const Timestamp& now) {
  std::ranges::stable_sort(group, later, [](const NamedSnapshot& s) { return s.snapshot.time; });
  std::array<Bucket, 11> buckets{{
      {policy.last, {}, each, "last snapshot"},
      {policy.hourly, {}, hour_of, "hourly snapshot"},
      {policy.daily, {}, day_of, "daily snapshot"},
      {policy.weekly, {}, week_of, "weekly snapshot"},
      {policy.monthly, {}, month_of, "monthly snapshot"},
      {policy.yearly, {}, year_of, "yearly snapshot"},
      {0, policy.within_hourly, hour_of, "hourly within"},
      {0, policy.within_daily, day_of, "daily within"},
      {0, policy.within_weekly, week_of, "weekly within"},
      {0, policy.within_monthly, month_of, "monthly within"},
      {0, policy.within_yearly, year_of, "yearly within"},
  }};
  std::optional<Timestamp> newest;
  for (const NamedSnapshot& backup : group)
    if (!newest && later(now, backup.snapshot.time)) newest = backup.snapshot.time;

  std::size_t oldest = group.size();  // of those that count
  while (oldest > 0 && is_behind(group[oldest - 1].snapshot)) --oldest;
  --oldest;

  std::vector<Judged> judged;
  for (std::size_t number = 0; number < group.size(); ++number) {
    const Timestamp time = group[number].snapshot.time;
    Judged one{std::move(group[number]), {}};
    if (is_ahead(one.backup.snapshot, now)) one.reasons.emplace_back("dated in the future");
    if (is_behind(one.backup.snapshot)) one.reasons.emplace_back("dated before respaldo was made");
    one.misdated = one.keep();
    for (const auto& list : policy.tags)
      if (has_tags(one.backup.snapshot, list))
        one.reasons.push_back(fmt::format("has tags [{}]", fmt::join(list, ", ")));
    if (!one.misdated) {
      if (!policy.within.zero() && newest && later(time, before(*newest, policy.within)))
        one.reasons.push_back("within " + policy.within.str());
      for (Bucket& bucket : buckets)
        ask(bucket, time, number, number == oldest, newest, one.reasons);
    }
    judged.push_back(std::move(one));
  }
  keep_newest_whole(judged);
  return judged;
}

}  // namespace respaldo::care
