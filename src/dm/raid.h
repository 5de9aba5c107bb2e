// RAID and mirror targets, for reading, with legs missing or out of sync where redundancy allows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/device.h"
#include "dm/table.h"

namespace respaldo::dm {

// A leg as the array sees it.
struct RaidDeviceLeg {
  block::DevicePtr data;
  bool usable = true;  // false: out of sync or failed, never read
};

struct RaidLayout {
  RaidLevel level = RaidLevel::raid1;
  std::uint64_t chunk = 0;   // bytes; 0 for raid1
  std::uint32_t copies = 2;  // raid10
  // Bytes of each leg from which on parity must not be relied upon: the first synchronisation did not get
  // there.
  std::uint64_t parity_valid = UINT64_MAX;
};

// Throws Error(corrupt) when the legs do not fit the layout and size. A read that needs a leg that is not
// usable, or that fails with Error(io) or Error(missing), is answered from the others, else fails with
// Error(missing or io).
block::DevicePtr raid_target(const RaidLayout& layout, std::vector<RaidDeviceLeg> legs, std::uint64_t size,
                             std::string name);

// The first leg is read; another one where that fails.
block::DevicePtr mirror_target(std::vector<block::DevicePtr> legs, std::uint64_t size, std::string name);

// What dm-raid's superblocks (on the rmeta devices; absent ones are null) tell of an array.
struct RaidHealth {
  std::vector<bool> out_of_sync;            // per leg
  std::uint64_t parity_valid = UINT64_MAX;  // bytes, as RaidLayout
};
RaidHealth read_raid_health(const std::vector<block::DevicePtr>& metadata);

}  // namespace respaldo::dm
