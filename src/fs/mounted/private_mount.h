// A mount that nobody else sees.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "os/file.h"

namespace respaldo::fs {

struct MountRequest {
  os::Path device;
  std::string type;                                               // as the kernel names it
  std::vector<std::pair<std::string, std::string>> parameters{};  // an empty value: a flag
  std::chrono::seconds limit{300};                                // recovery of a journal takes its time
};

// Mounts read-only, without devices, programs, set-user-ID, symbolic links to follow and changes of access
// times, attached nowhere (fsmount(2)): no path leads there but through the descriptor of its root folder
// that is returned, and the mount is gone when that and all that was opened below it are closed, however the
// process ends.
//
// The kernel does it in a child process: one that dies of it, or does not come back in time, is left behind.
// Error: unsupported (the kernel does not know the type, or cannot mount so), refused (not root), io with
// what the kernel says. Stop throws Cancelled.
os::UniqueFd mount_privately(const MountRequest& request, const std::stop_token& stop);

}  // namespace respaldo::fs
