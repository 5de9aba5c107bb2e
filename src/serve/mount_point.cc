#include "serve/mount_point.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/printable.h"
#include "os/process.h"

namespace respaldo::serve {

namespace {

bool is_mount_point(const os::Path& folder) {
  struct statx st {};
  return ::statx(AT_FDCWD, folder.c_str(), AT_NO_AUTOMOUNT, STATX_TYPE, &st) == 0 &&
         (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

// Tells a failure to run fusermount3 once.
bool unmount(const os::Path& point, Progress& progress, bool& told) {
  // Root needs no helper, which may not be there.
  if (::geteuid() == 0) {
    if (::umount2(point.c_str(), 0) == 0) return true;
    if (errno == EBUSY) return false;
  }
  try {
    return os::run_command({"fusermount3", "-u", point.string()}).exit_code == 0;
  } catch (const Error& error) {
    if (!told)
      progress.note(fmt::format("{} cannot be unmounted: {}; unmount it by hand", printable(point.native()),
                                error.what()));
    told = true;
    return false;
  }
}

}  // namespace

os::Path mount_point(const os::Path& folder, std::string_view whose) {
  struct stat st {};
  if (::stat(folder.c_str(), &st) != 0) {
    const std::string point = printable(folder.native());
    // Nobody is behind the mount any more: its process was killed.
    if (errno == ENOTCONN)
      throw Error(ErrorKind::busy, fmt::format("{} is the mount of {} that has died", point, whose),
                  fmt::format("clear it away with: fusermount3 -u {}", point));
    throw os::system_error(errno, "stat", folder).set_hint("make the folder first");
  }
  if (!S_ISDIR(st.st_mode))
    throw Error(ErrorKind::usage, fmt::format("{} is not a folder", printable(folder.native())));
  const os::Path point = std::filesystem::canonical(folder);
  if (is_mount_point(point))
    throw Error(ErrorKind::refused, fmt::format("something is mounted on {} already", printable(point.native())),
                "unmount it first, or give another folder");
  std::error_code unreadable;
  if (!std::filesystem::is_empty(point, unreadable) && !unreadable)
    throw Error(ErrorKind::refused, fmt::format("{} is not empty: what is in it would be hidden", printable(point.native())),
                "give an empty folder");
  return point;
}

void unmount_when_stopped(const os::Path& point, Progress& progress, std::stop_token stop,
                          const std::atomic<bool>& over) {
  bool told = false;
  while (!over) {
    if (stop.stop_requested()) {
      if (unmount(point, progress, told)) return;
      if (!told && !over)
        progress.note(fmt::format("{} is still in use; it is unmounted as soon as its files are closed",
                                  printable(point.native())));
      told = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(told ? 50 : 10));
  }
}

Error mount_error(const os::Path& point) {
  return Error(ErrorKind::io, fmt::format("cannot mount on {}", printable(point.native())),
               "see that /dev/fuse is there, that fusermount3 is installed (package fuse3), and that the "
               "folder is yours and not a mount point already");
}

}  // namespace respaldo::serve
