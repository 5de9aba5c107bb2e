// Where FUSE filesystems are mounted, and how they are unmounted again.
#pragma once

#include <atomic>
#include <stop_token>
#include <string_view>

#include "base/progress.h"
#include "os/file.h"

namespace respaldo::serve {

// The absolute path of an empty folder to mount on. Error(not_found, usage, refused when something is in it or mounted on
// it, or busy: the mount of a process that has died, `whose` names it: "an activation").
os::Path mount_point(const os::Path& folder, std::string_view whose);

// Unmounts when asked to stop, as soon as nobody uses the files (saying so while it waits). Returns then, or
// when `over` is set: an unmount by hand. That is waited for, too, when fusermount3 cannot be run.
void unmount_when_stopped(const os::Path& point, Progress& progress, std::stop_token stop,
                          const std::atomic<bool>& over);

// What the kernel or fusermount3 refused to mount.
Error mount_error(const os::Path& point);

}  // namespace respaldo::serve
