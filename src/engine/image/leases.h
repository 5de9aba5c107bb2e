// How the image engine holds a volume still.
#pragma once

#include <memory>

#include "engine/base.h"
#include "engine/image/activation_client.h"
#include "engine/image/image_engine.h"

namespace respaldo::engine {

// Figures of a snapshot's store, out of the store itself.
CowFigures figures_of(const DiskSet& disks, const DiskSet::Group& group,
                      const lvm::VolumeGroup::SnapshotBinding& binding);

// The volume as it lies: nobody may write it while the lease keeps the images locked. When another program does all the
// same, require_valid() throws Error(busy). `given`: it is a snapshot that the user named.
std::unique_ptr<SnapshotLease> lease_as_it_lies(std::shared_ptr<DiskSet> disks, const DiskSet::Group& group,
                                                const lvm::LogicalVolume& lv, bool given);
// The same with a snapshot that may become a base. REQUIRES disks opened exclusively. Where no snapshot can
// be made, the lease says so in base_problem().
std::unique_ptr<SnapshotLease> lease_with_snapshot(std::shared_ptr<DiskSet> disks, const std::string& vg,
                                                   const std::string& lv, const AcquireOptions& options);

std::vector<BaseInfo> bases_in(const DiskSet& disks, const DiskSet::Group& group);
// REQUIRES disks opened exclusively. `why` goes into the group's metadata.
void remove_quiet_snapshot(DiskSet& disks, const VolumeName& snapshot, const std::string& why);

// Inside a running activation: a snapshot made for the run (removed at the end), or one that is there.
std::unique_ptr<SnapshotLease> lease_of_own(const ActivationClient& client, const VolumeName& origin,
                                            std::optional<std::uint64_t> cow_size, const AcquireOptions& options);
std::unique_ptr<SnapshotLease> lease_of_given(const ActivationClient& client, const VolumeName& snapshot);

}  // namespace respaldo::engine
