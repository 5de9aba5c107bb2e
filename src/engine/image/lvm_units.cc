#include "engine/image/lvm_units.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"

namespace respaldo::engine {

namespace {

constexpr std::string_view kLetters = "kmgtpe";

std::uint64_t power(std::uint64_t base, std::size_t exponent) {
  std::uint64_t result = 1;
  while (exponent-- > 0) result *= base;
  return result;
}

bool is_human(char unit) { return unit == 'h' || unit == 'H' || unit == 'r' || unit == 'R'; }

struct Scale {
  std::uint64_t bytes = 1;
  std::string full, brief;
  bool whole = false;  // printed without decimals
};

Scale scale_of(char letter, std::uint64_t factor) {
  const char lower = static_cast<char>(std::tolower(letter));
  if (lower == 'u') return {factor, " Units", "U"};
  if (lower == 'b') return {1, " B", "B", true};
  if (lower == 's') return {kSector, " Se", "S", true};
  const std::size_t index = kLetters.find(lower);
  const bool decimal = std::isupper(static_cast<unsigned char>(letter)) != 0;
  const char upper = static_cast<char>(std::toupper(lower));
  return {power(decimal ? 1000 : 1024, index + 1),
          decimal ? fmt::format(" {}B", upper) : fmt::format(" {}iB", upper), std::string(1, letter)};
}

Scale human_scale(std::uint64_t bytes, char unit) {
  const bool decimal = std::isupper(static_cast<unsigned char>(unit)) != 0;
  for (std::size_t index = kLetters.size(); index-- > 0;) {
    if (bytes < power(decimal ? 1000 : 1024, index + 1)) continue;
    const char letter = kLetters[index];
    return scale_of(decimal ? static_cast<char>(std::toupper(letter)) : letter, 0);
  }
  return {1, " B", decimal ? "B" : "b"};
}

SizeSign take_sign(std::string_view& text) {
  if (text.empty() || (text.front() != '+' && text.front() != '-')) return SizeSign::none;
  const SizeSign sign = text.front() == '+' ? SizeSign::plus : SizeSign::minus;
  text.remove_prefix(1);
  return sign;
}

Error bad_argument(std::string_view option, std::string_view text, std::string_view why) {
  return Error(ErrorKind::usage,
               fmt::format("{}\nInvalid argument for --{}: {}", why, option, printable(text)));
}

}  // namespace

std::optional<SizeUnits> SizeUnits::parse(std::string_view text) {
  SizeUnits units;
  if (text.empty()) return std::nullopt;
  if (text.size() == 1 &&
      (is_human(text[0]) || std::string_view("bBsSkKmMgGtTpPeE").find(text[0]) != text.npos)) {
    units.unit = text[0];
    return units;
  }
  // A number of units is a unit of its own.
  const std::string copy(text);
  char* end = nullptr;
  const double number = std::strtod(copy.c_str(), &end);
  if (end == copy.c_str() || number <= 0 || end[0] == 0 || end[1] != 0) return std::nullopt;
  if (std::string_view("bBsSkKmMgGtTpPeE").find(end[0]) == std::string_view::npos) return std::nullopt;
  const double bytes = number * static_cast<double>(scale_of(end[0], 0).bytes);
  if (bytes < 1 || bytes > 9e18) return std::nullopt;
  units.unit = 'U';
  units.factor = static_cast<std::uint64_t>(bytes);
  return units;
}

std::string display_size(std::uint64_t bytes, SizeSuffix style, const SizeUnits& units) {
  const bool human = is_human(units.unit);
  if (bytes == 0 && human) return !units.suffix ? "0" : style == SizeSuffix::full ? "0   " : "0 ";
  const Scale scale = human ? human_scale(bytes, units.unit) : scale_of(units.unit, units.factor);
  const std::string suffix = !units.suffix ? "" : style == SizeSuffix::full ? scale.full : scale.brief;
  if (bytes == 0) return "0" + suffix;
  if (scale.whole) return fmt::format("{}{}", bytes / scale.bytes, suffix);
  const double value = static_cast<double>(bytes) / static_cast<double>(scale.bytes);
  const std::string text = fmt::format("{:.2f}", value);
  const bool enlarged =
      (units.unit == 'r' || units.unit == 'R') && std::strtod(text.c_str(), nullptr) > value;
  return fmt::format("{}{}{}", enlarged ? "<" : "", text, suffix);
}

std::string SizeSpec::percent_name() const {
  switch (base) {
    case SizeBase::vg:
      return "%VG";
    case SizeBase::free:
      return "%FREE";
    case SizeBase::pvs:
      return "%PVS";
    case SizeBase::origin:
      return "%ORIGIN";
    case SizeBase::lv:
      return "%LV";
    default:
      return "";
  }
}

SizeSpec parse_size_spec(std::string_view text) {
  SizeSpec spec;
  spec.base = SizeBase::bytes;
  std::string_view number = text;
  spec.sign = take_sign(number);
  if (number.empty() || (std::isdigit(static_cast<unsigned char>(number[0])) == 0 && number[0] != '.'))
    throw bad_argument("size", text, "Size requires number argument.");
  const auto bytes = try_parse_size(number, kMiB);
  if (!bytes) throw bad_argument("size", text, "Can't parse size argument.");
  if (*bytes % kSector != 0)
    throw bad_argument("size", text,
                       fmt::format("Size is not a multiple of 512. Try using {} or {}.",
                                   *bytes / kSector * kSector, (*bytes / kSector + 1) * kSector));
  spec.value = *bytes;
  return spec;
}

SizeSpec parse_extents_spec(std::string_view text) {
  SizeSpec spec;
  std::string_view rest = text;
  spec.sign = take_sign(rest);
  const std::size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  if (digits == 0) throw bad_argument("extents", text, "Extents requires number argument.");
  if (digits > 12) throw bad_argument("extents", text, "Extents value is too large.");
  for (char c : rest.substr(0, digits)) spec.value = spec.value * 10 + static_cast<std::uint64_t>(c - '0');
  std::string kind(rest.substr(digits));
  if (kind.empty()) return spec;
  if (kind[0] != '%') throw bad_argument("extents", text, "Extents requires number argument.");
  std::string name = kind.substr(1);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
  // lvm2 takes any beginning of the words.
  constexpr std::array<std::pair<std::string_view, SizeBase>, 5> kBases{{{"VG", SizeBase::vg},
                                                                         {"FREE", SizeBase::free},
                                                                         {"PVS", SizeBase::pvs},
                                                                         {"ORIGIN", SizeBase::origin},
                                                                         {"LV", SizeBase::lv}}};
  for (const auto& [word, base] : kBases)
    if (!name.empty() && word.starts_with(name)) {
      spec.base = base;
      return spec;
    }
  throw bad_argument("extents", text, fmt::format("Specified {} is unknown.", printable(kind)));
}

std::uint64_t percent_of(std::uint64_t whole, std::uint64_t percent, bool round_up) {
  const auto product = static_cast<unsigned __int128>(whole) * percent + (round_up ? 99 : 0);
  const auto result = product / 100;
  return result > ~std::uint64_t{0} ? ~std::uint64_t{0} : static_cast<std::uint64_t>(result);
}

}  // namespace respaldo::engine
