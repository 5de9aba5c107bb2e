// Times as RFC 3339, as Go prints them.
#include <fmt/format.h>

#include <chrono>

#include "repo/tree.h"

namespace respaldo::repo {

namespace {

// First second of year 0 and of year 10000.
constexpr std::int64_t kFirst = -62167219200, kEnd = 253402300800;

std::optional<int> digits(std::string_view text, std::size_t at, std::size_t count) {
  if (at + count > text.size()) return std::nullopt;
  int value = 0;
  for (const char c : text.substr(at, count)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

}  // namespace

std::string format_time(const Timestamp& time) {
  std::int64_t local = time.seconds + time.zone_seconds;
  std::uint32_t nanoseconds = time.nanoseconds;
  if (local < kFirst) {
    local = kFirst;
    nanoseconds = 0;
  } else if (local >= kEnd) {
    local = kEnd - 1;
    nanoseconds = 999999999;
  }
  const std::chrono::sys_seconds point{std::chrono::seconds(local)};
  const auto day = std::chrono::floor<std::chrono::days>(point);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(point - day);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                                 clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (nanoseconds != 0) {
    text += fmt::format(".{:09}", nanoseconds);
    text.erase(text.find_last_not_of('0') + 1);
  }
  if (time.zone_seconds == 0) return text + "Z";
  const int minutes = time.zone_seconds / 60;
  return text + fmt::format("{}{:02}:{:02}", minutes < 0 ? '-' : '+', std::abs(minutes) / 60,
                            std::abs(minutes) % 60);
}

std::optional<Timestamp> parse_time(std::string_view text) {
  const auto year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2),
             hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second || text[4] != '-' || text[7] != '-' ||
      text[10] != 'T' || text[13] != ':' || text[16] != ':')
    return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  Timestamp time;
  std::size_t at = 19;
  if (at < text.size() && text[at] == '.') {
    std::uint32_t scale = 100000000;
    const std::size_t first = ++at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
      time.nanoseconds += static_cast<std::uint32_t>(text[at] - '0') * scale;
      scale /= 10;
    }
    if (at == first) return std::nullopt;
  }
  if (at >= text.size()) return std::nullopt;
  if (text[at] == 'Z') {
    if (at + 1 != text.size()) return std::nullopt;
  } else {
    const auto hours = digits(text, at + 1, 2), minutes = digits(text, at + 4, 2);
    if ((text[at] != '+' && text[at] != '-') || at + 6 != text.size() || text[at + 3] != ':' || !hours ||
        !minutes || *hours > 23 || *minutes > 59)
      return std::nullopt;
    time.zone_seconds = (*hours * 60 + *minutes) * 60 * (text[at] == '-' ? -1 : 1);
  }
  time.seconds = std::chrono::sys_days(date).time_since_epoch().count() * std::int64_t{86400} + *hour * 3600 +
                 *minute * 60 + *second - time.zone_seconds;
  return time;
}

Timestamp now() {
  const auto point = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(point);
  Timestamp time;
  time.seconds = seconds.count();
  time.nanoseconds = static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(point - seconds).count());
  return time;
}

}  // namespace respaldo::repo
