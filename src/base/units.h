// Sizes as people and lvm2 write them. Binary units throughout.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace respaldo {

inline constexpr std::uint64_t kSector = 512;
inline constexpr std::uint64_t kKiB = 1024, kMiB = kKiB * 1024, kGiB = kMiB * 1024, kTiB = kGiB * 1024;

// "10G", "4m", "1.5t", "512", "8s" (sectors), "100b" -> bytes. Letters of either case are binary units, as for
// lvm2's --size; a number without a letter is in default_unit bytes. Absent when malformed or above 2^63.
std::optional<std::uint64_t> try_parse_size(std::string_view text, std::uint64_t default_unit = 1);
// The same, or Error(usage) that names `what`.
std::uint64_t parse_size(std::string_view text, std::string_view what, std::uint64_t default_unit = 1);

std::string format_size(std::uint64_t bytes);       // "9.76 GiB", "512 B"
std::string format_rate(double bytes_per_second);   // "1.20 GiB/s"; "unknown" for infinity and NaN
std::string format_duration(double seconds);        // "0.4 s", "1:05", "2:03:04"; "unknown" likewise
std::string counted(std::uint64_t count, std::string_view noun);  // "1 backup", "2 backups"

}  // namespace respaldo
