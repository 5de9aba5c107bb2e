#include "base/units.h"

#include <fmt/format.h>

#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "base/error.h"

namespace respaldo {

std::optional<std::uint64_t> try_parse_size(std::string_view text, std::uint64_t default_unit) {
  std::size_t digits = 0;
  bool dot = false, any = false;
  while (digits < text.size() && (std::isdigit(static_cast<unsigned char>(text[digits])) != 0 || (text[digits] == '.' && !dot))) {
    if (text[digits] == '.') {
      dot = true;
    } else {
      any = true;
    }
    ++digits;
  }
  if (!any || digits > 30) return std::nullopt;
  std::string_view suffix = text.substr(digits);
  std::uint64_t unit = default_unit;
  if (!suffix.empty()) {
    switch (std::tolower(static_cast<unsigned char>(suffix[0]))) {
      case 'b': unit = 1; break;
      case 's': unit = kSector; break;
      case 'k': unit = kKiB; break;
      case 'm': unit = kMiB; break;
      case 'g': unit = kGiB; break;
      case 't': unit = kTiB; break;
      case 'p': unit = kTiB * 1024; break;
      case 'e': unit = kTiB * 1024 * 1024; break;
      default: return std::nullopt;
    }
    suffix.remove_prefix(1);
    if (unit <= kSector && !suffix.empty()) return std::nullopt;
    // "GiB", "gb" and "G" mean the same.
    if (suffix != "" && suffix != "iB" && suffix != "ib" && suffix != "B" && suffix != "b") return std::nullopt;
  }
  const std::string number(text.substr(0, digits));
  constexpr std::uint64_t kMost = std::uint64_t{1} << 63;
  if (!dot) {
    errno = 0;
    const unsigned long long whole = std::strtoull(number.c_str(), nullptr, 10);
    if (errno != 0 || (unit != 0 && whole > kMost / unit)) return std::nullopt;
    return whole * unit;
  }
  const long double value = std::strtold(number.c_str(), nullptr) * static_cast<long double>(unit);
  if (!(value < static_cast<long double>(kMost))) return std::nullopt;
  return static_cast<std::uint64_t>(std::floor(value + 0.5L));
}

std::uint64_t parse_size(std::string_view text, std::string_view what, std::uint64_t default_unit) {
  if (auto size = try_parse_size(text, default_unit)) return *size;
  throw Error(ErrorKind::usage, fmt::format("{}: '{}' is not a size", what, text),
              "write a number and a unit, for example 10G, 512m or 8192k");
}

std::string format_size(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1023.995 && unit < 6) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.2f} {}", value, kUnits[unit]);
}

namespace {
// Nothing is that fast or takes that long: a division by nothing came before. Also what fits into 64 bits.
constexpr double kBeyondMeaning = 1e18;
}  // namespace

std::string format_rate(double bytes_per_second) {
  if (!(bytes_per_second < kBeyondMeaning)) return "unknown";
  return format_size(bytes_per_second > 0 ? static_cast<std::uint64_t>(bytes_per_second) : 0) + "/s";
}

std::string format_duration(double seconds) {
  if (!(seconds < kBeyondMeaning)) return "unknown";
  if (seconds < 0) seconds = 0;
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::uint64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string counted(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace respaldo
