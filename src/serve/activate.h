// `activate DIR`: the volumes of disk images as files, by FUSE, with a control socket for everybody else.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/image/activation_client.h"
#include "engine/image/live_volumes.h"

namespace respaldo::serve {

struct ActivateOptions {
  std::vector<os::Path> images;
  os::Path mount_point;
  bool read_only = false;
  bool allow_other = false;  // other users may use the mount (needs user_allow_other in fuse.conf, or root)
  // Called once when the files are there.
  std::function<void()> ready;
};

// What an activation knows of its volumes: which may not be removed or resized, and which snapshots are lost.
struct VolumeStates {
  std::function<bool(const engine::VolumeName&)> is_open, has_died;
};
// Runs an lvm verb on the open images.
using LvmVerb = std::function<engine::ActivationClient::CommandReply(
    engine::DiskSet& disks, const std::vector<std::string>& argv, const VolumeStates& states)>;

// Serves until unmounted, or until a stop is asked: then it unmounts as soon as nobody has a file open
// (saying so while it waits). Everything written is on the images when this returns. DIR/VG/LV are files;
// DIR/mapper/VG-LV are links to them. Error(overflow) at the end, naming them, when snapshots died and were not removed.
void activate(const ActivateOptions& options, const LvmVerb& lvm, Progress& progress, std::stop_token stop);

}  // namespace respaldo::serve
