// Who uses a block device.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "os/file.h"

namespace respaldo::engine {

// "mounted on /srv", "swap", "below the device-mapper device vg0-x", "open in process 123 (dd)". The roots
// are the machine's /proc and /sys, or a test's. What cannot be read tells nothing.
std::vector<std::string> uses_of(dev_t device, const os::Path& proc = "/proc", const os::Path& sys = "/sys");

// Mount points of a device in the text of /proc/self/mountinfo.
std::vector<std::string> mount_points(std::string_view mountinfo, dev_t device);

}  // namespace respaldo::engine
