// Volumes on images are made, and rolled back to snapshots: engine/volume_changes.h on quiet images, or through the
// activation that serves them.
#pragma once

#include <memory>
#include <vector>

#include "engine/image/activation_client.h"
#include "engine/image/image_engine.h"
#include "engine/volume_changes.h"

namespace respaldo::engine {

std::unique_ptr<NewVolume> make_image_volume(const std::vector<os::Path>& images, const NewVolumeRequest& request);

// `snapshot`: as the engine finds it.
MergePlan plan_image_merge(const std::vector<os::Path>& images, const VolumeInfo& snapshot);
MergeOutcome merge_image_snapshot(const std::vector<os::Path>& images, const MergePlan& plan, Progress& progress,
                                  const std::stop_token& stop);

// VolumeChanges::adopt().
void adopt_image_volume(const std::vector<os::Path>& images, const VolumeName& name, const std::string& uuid);
// Of a volume that the activation serves.
std::vector<std::string> served_tags(const ActivationClient& client, const VolumeName& name);

// Volumes that processes which died had made for themselves.
CleanReport clean_images(const std::vector<os::Path>& images, const CleanOptions& options);
bool is_served_leftover(const ActivationClient& client, const VolumeName& name);

}  // namespace respaldo::engine
