// --pack-size, as several commands have it.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/units.h"

namespace respaldo::cli {

// Bytes of a pack; a number alone is of MiB, as restic's. Error(usage).
inline std::uint64_t parse_pack_size(const std::string& text) {
  const std::uint64_t size = parse_size(text, "--pack-size", kMiB);
  if (size < 4 * kMiB || size > 128 * kMiB)
    throw Error(ErrorKind::usage, "--pack-size must be between 4M and 128M");
  return size;
}

}  // namespace respaldo::cli
