// Volumes of the running system are made, and rolled back to snapshots: engine/volume_changes.h by lvm2.
#pragma once

#include <memory>

#include "engine/kernel/world.h"
#include "engine/volume_changes.h"

namespace respaldo::engine {

// Its intent is in the journal until it is kept or gone.
std::unique_ptr<NewVolume> make_live_volume(std::shared_ptr<World> world, const NewVolumeRequest& request);

MergePlan plan_live_merge(World& world, const LvRow& snapshot);
// Asks lvm2 for the merge and watches the kernel do it.
MergeOutcome merge_live_snapshot(World& world, const LvRow& snapshot, Progress& progress,
                                 const std::stop_token& stop);

}  // namespace respaldo::engine
