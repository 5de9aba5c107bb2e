// A block device that is about to be written: the one that was meant, and nobody else's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "os/unique_fd.h"

namespace respaldo::provision {

// As the plan knew it; numbers of disk images do not count.
struct DiskNode {
  std::string path{};
  std::uint32_t major = 0, minor = 0;
  std::uint64_t size = 0;
};

// O_EXCL on a block device: nobody has it or a partition of it mounted, in a mapping or in an array, and
// nobody gets it while the descriptor is open. Error(busy) otherwise.
os::UniqueFd open_alone(const std::string& path);

// Takes every signature that libblkid knows off the partitions and then off the disk, which is held as by
// open_alone() all the while. Error(busy) when somebody uses one of them, Error(refused) when a path leads to
// another device by now: then nothing was written.
void wipe_signatures(const DiskNode& disk, const std::vector<DiskNode>& partitions);

}  // namespace respaldo::provision
