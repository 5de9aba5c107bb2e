// The picture of the running host.
#pragma once

#include <functional>
#include <stop_token>

#include "machine/picture.h"
#include "machine/probe_device.h"
#include "os/command_runner.h"

namespace respaldo::machine {

// Where the host shows itself. Tests give folders of their own.
struct Places {
  os::Path sys = "/sys", udev = "/run/udev/data", mountinfo = "/proc/self/mountinfo", swaps = "/proc/swaps",
           fstab = "/etc/fstab";
  std::function<DiskContent(const os::Path&)> probe = probe_device;  // called with "/dev/..." paths
  bool ask_free_space = true;                                        // statvfs of what is mounted
};

// Everything; what cannot be looked at is told in `warnings`, and the rest is there all the same. Asks lvm2
// three times (lvs, vgs, pvs) through `commands`. Throws only Cancelled, and Error(io) when sysfs or
// mountinfo cannot be read.
Picture read_picture(const Places& places, os::CommandRunner& commands, std::stop_token stop = {});

// `path` made absolute, without symbolic links as far as it exists: what mount_holding() takes.
std::string real_path(const os::Path& path);

}  // namespace respaldo::machine
