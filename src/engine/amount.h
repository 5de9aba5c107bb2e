// Sizes as users give them for snapshots: bytes ("10G"), or a share of something ("20%ORIGIN", "100%FREE").
#pragma once

#include <cstdint>
#include <string_view>

namespace respaldo::engine {

struct Amount {
  enum class Of { bytes, origin, vg, free, pool };
  Of of = Of::bytes;
  std::uint64_t value = 0;  // bytes, or percent

  // "10G" (a number alone is MiB, as in lvm2), "20%ORIGIN", "50%FREE", "10%VG"; "20%" is of `percent_of`.
  // Error(usage) naming `what`; percentages above 100 likewise.
  static Amount parse(std::string_view text, std::string_view what, Of percent_of);
  static Amount bytes(std::uint64_t value) { return {Of::bytes, value}; }
  // In bytes, rounded down. What the share is of.
  struct Whole {
    std::uint64_t origin = 0, vg = 0, free = 0, pool = 0;
  };
  std::uint64_t resolve(const Whole& whole) const;
  friend bool operator==(const Amount&, const Amount&) = default;
};

}  // namespace respaldo::engine
