// Small errands that the steps of targets share.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "provision/target.h"

namespace respaldo::provision {

// Runs a program that must end with 0; Error(io) in its own words otherwise.
void run_tool(os::CommandRunner& commands, const std::vector<std::string>& argv, std::stop_token stop = {});
// Until udev has made its names; nothing without udev.
void settle(Doors& doors);
// systemd keeps what it read of fstab; nothing without systemd.
void tell_systemd(Doors& doors);
bool is_mounted(Doors& doors, const std::string& mount_point);
// Nothing when it is not mounted. Patient with those who look at a new filesystem for a moment; Error(busy)
// with who does not go.
void unmount(Doors& doors, const std::string& mount_point);
// lvremove races with udev's looks at the device: tried again for a while.
void remove_volume(const engine::LvmCommand& lvm, const std::string& name);
// mkfs and its words.
std::vector<std::string> mkfs_words(const TargetPlan& plan);

}  // namespace respaldo::provision
