// What lies on a block device of the host, as libblkid knows it.
#pragma once

#include <string>
#include <vector>

#include "machine/picture.h"
#include "os/file.h"

namespace respaldo::machine {

struct PartitionFacts {
  unsigned number = 0;
  std::string type{}, type_name{}, name{}, uuid{};  // type: GUID in lower case, or "0x8e"
};
struct DiskContent {
  Content content{};
  std::vector<PartitionFacts> partitions{};
};

// Reads the places where superblocks and partition tables live. Never throws for what lies there or cannot be
// read: that is in content.unreadable.
DiskContent probe_device(const os::Path& path);

}  // namespace respaldo::machine
