// How the kernel mounts each kind of filesystem, and what it can tell of it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace respaldo::fs {

// How to learn where the content of files lies on the device.
enum class Places {
  unknown,  // content is read through the mount
  fiemap,   // FS_IOC_FIEMAP tells offsets of the device
  fibmap,   // FIBMAP does, cluster by cluster
};

struct MountKind {
  using Parameters = std::vector<std::pair<std::string, std::string>>;
  std::string type;            // as the kernel names it
  Parameters parameters = {};  // an empty value: a flag
  // Besides those: shows the disk as it is, its journal not replayed.
  Parameters without_recovery = {};
  Places places = Places::unknown;
  bool steady_inodes = true;  // inode numbers are the disk's, and the same in each mount
  bool may_exceed = true;     // see FilesystemFacts
  bool tells_free = false;    // FS_IOC_GETFSMAP tells what is free
  bool has_subvolumes = false;
};

// For a type as libblkid names it. Types that are not known here are mounted without parameters and read
// through the mount.
MountKind mount_kind(std::string_view probe_type);

}  // namespace respaldo::fs
