// Mounts, swaps and fstab, read by libmount.
#pragma once

#include <string>
#include <vector>

#include "machine/picture.h"
#include "os/file.h"

namespace respaldo::machine {

// `path` is a mountinfo file ("/proc/self/mountinfo"). Error(io) when it cannot be read.
std::vector<Mount> read_mounts(const os::Path& path);
// `path` is "/proc/swaps"; no file, no swaps.
std::vector<Swap> read_swaps(const os::Path& path);

struct FstabTable {
  std::vector<FstabEntry> entries;
  std::vector<unsigned> bad_lines;  // numbers of lines that libmount does not take
};
// No file, no entries. Error(io) when it cannot be read.
FstabTable read_fstab(const os::Path& path);

}  // namespace respaldo::machine
