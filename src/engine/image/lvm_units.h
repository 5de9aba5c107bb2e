// Sizes as lvm2 prints and takes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace respaldo::engine {

// --units and --nosuffix. 'r' is lvm2's default: human-readable, with '<' in front when rounding enlarged it.
struct SizeUnits {
  char unit = 'r';           // one of hHrR, bBsS, kKmMgGtTpPeE; capitals are powers of 1000
  std::uint64_t factor = 0;  // bytes, for units such as "4m"; unit is then 'U'
  bool suffix = true;

  // Absent when the text is no unit that lvm2 takes.
  static std::optional<SizeUnits> parse(std::string_view text);
};

enum class SizeSuffix {
  full,   // "9.76 GiB"
  brief,  // "9.76g"
};
std::string display_size(std::uint64_t bytes, SizeSuffix style = SizeSuffix::full,
                         const SizeUnits& units = {});

// What -L and -l take: "+10G", "-5", "50%FREE".
enum class SizeSign { none, plus, minus };
enum class SizeBase { bytes, extents, vg, free, pvs, origin, lv };
struct SizeSpec {
  SizeSign sign = SizeSign::none;
  SizeBase base = SizeBase::extents;
  std::uint64_t value = 0;  // bytes, extents, or whole percents

  bool is_percent() const { return base != SizeBase::bytes && base != SizeBase::extents; }
  std::string percent_name() const;  // "%FREE"
};
// The argument of -L; a number without a letter is in MiB. Error(usage) with lvm2's words.
SizeSpec parse_size_spec(std::string_view text);
// The argument of -l.
SizeSpec parse_extents_spec(std::string_view text);

// `percent` of `whole`, rounded down, or up. Never overflows.
std::uint64_t percent_of(std::uint64_t whole, std::uint64_t percent, bool round_up);

}  // namespace respaldo::engine
