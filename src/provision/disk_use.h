// What is on a disk, and who uses it: what must be known before it is given to something else. Pure.
#pragma once

#include <string>
#include <vector>

#include "machine/picture.h"

namespace respaldo::provision {

struct DiskUse {
  std::vector<std::string>
      holds;  // what would be lost: "a GPT partition table", "/dev/sdb1: ext4 \"photos\", 1.82 TiB"
  std::vector<std::string> in_use;  // why nobody may touch it now: "/dev/sdb1 is mounted at /srv"
};
DiskUse examine(const machine::Picture& picture, const machine::Device& disk);

// The whole disk that the user named: Error(not_found) with the disks that there are; Error(usage) for a
// partition, a volume and the like.
const machine::Device& find_disk(const machine::Picture& picture, const std::string& named);

}  // namespace respaldo::provision
