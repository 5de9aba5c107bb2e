// Leases on volumes of the running system.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/cow_size.h"
#include "engine/kernel/lv_device.h"
#include "engine/kernel/world.h"

namespace respaldo::engine {

// A snapshot, thick or thin, whose device is active.
struct LeasedSnapshot {
  VolumeName name;
  std::string vg_uuid, lv_uuid;
  std::string origin;  // for messages: "vg0/root"
  bool thick = false;
  CowSpace space;               // thick: of its origin and group (vg_free as it was when the lease began)
  std::uint64_t kept_free = 0;  // bytes
  std::vector<std::string> home;  // thick, if it may become a base: where its origin lies, and its store should
  std::string pool, pool_uuid;  // thin
  bool ours = false;            // removed when released
  bool read_as_given = false;   // others may write to it: they must not while it is read
  bool deactivate = false;      // was activated for the lease
  std::uint64_t intent = 0;     // in the journal
};

std::unique_ptr<SnapshotLease> lease_snapshot(std::shared_ptr<World> world, LeasedSnapshot snapshot);

// Figures of a thick snapshot out of device-mapper. Absent when it has no device, or is no snapshot.
std::optional<CowFigures> cow_figures(DmControl& dm, const std::string& uuid, const CowSpace& space);
// Of the pool with this UUID. Absent when it is not active.
std::optional<PoolFigures> pool_figures(DmControl& dm, const std::string& vg_uuid,
                                        const std::string& pool_uuid, const std::string& name);

}  // namespace respaldo::engine
