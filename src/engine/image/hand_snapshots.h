// Snapshots made and removed by hand, on quiet images or through the activation that serves them.
#pragma once

#include <string>
#include <vector>

#include "engine/image/activation_client.h"
#include "engine/image/image_engine.h"

namespace respaldo::engine {

// Sized as the kernel engine sizes them (cow_size.h). Gives its name.
VolumeName create_hand_snapshot(const std::vector<os::Path>& images, const VolumeName& origin,
                                const std::string& name, const AcquireOptions& options);
// As SnapshotLease::grow.
SnapshotLease::Growth extend_hand_snapshot(const std::vector<os::Path>& images, const VolumeName& snapshot,
                                           std::uint64_t bytes);
SnapshotLease::Growth extend_served_snapshot(const ActivationClient& client, const VolumeName& snapshot,
                                             std::uint64_t bytes, const std::optional<Amount>& keep_free);
// Error(refused) for what is no snapshot, or has another UUID.
void remove_hand_snapshot(const std::vector<os::Path>& images, const VolumeName& snapshot, const std::string& uuid);

}  // namespace respaldo::engine
