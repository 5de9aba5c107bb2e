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

// Mount points of a device in the text of /proc/self/mountinfo; or only those through which its filesystem may write to
// it, whatever programs may do.
enum class MountedFor { anything, writing };
std::vector<std::string> mount_points(std::string_view mountinfo, dev_t device,
                                      MountedFor what = MountedFor::anything);

}  // namespace respaldo::engine
