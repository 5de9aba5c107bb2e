// What lies on a volume, as libblkid knows it.
#pragma once

#include <optional>
#include <string>

#include "block/device.h"

namespace respaldo::fs {

struct ProbeResult {
  std::string type;   // "ext4", "xfs", "swap", "LVM2_member", "crypto_LUKS", ...
  std::string usage;  // "filesystem", "raid", "crypto", "other"
  std::string label, uuid, version;
};

// Absent when libblkid recognises nothing. Ambivalent results are absent too, with `ambivalent` set.
std::optional<ProbeResult> probe(const block::Device& device, bool* ambivalent = nullptr);

}  // namespace respaldo::fs
