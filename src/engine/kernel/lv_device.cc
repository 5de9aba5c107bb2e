#include "engine/kernel/lv_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <thread>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"

namespace respaldo::engine {

os::UniqueFd open_lv_node(World& world, const std::string& uuid, int flags,
                          std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto info = world.dm().info(DmRef::by_uuid(uuid));
    if (!info)
      throw Error(ErrorKind::missing, "the volume has no device: it is not active",
                  "activate it: lvchange -ay VG/LV");
    const os::Path path = world.node(info->name);
    if (auto fd = os::try_open_file(path, flags)) {
      struct stat st {};
      if (::fstat(fd->get(), &st) != 0) throw os::system_error(errno, "stat", path);
      if (S_ISBLK(st.st_mode) && st.st_rdev == makedev(info->major, info->minor)) return std::move(*fd);
    }
    if (std::chrono::steady_clock::now() > deadline)
      throw Error(ErrorKind::io,
                  fmt::format("{} does not appear, or is another device", printable(path.native())),
                  "is udev running? `vgmknodes` makes missing nodes");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void LvDevice::read_at(std::uint64_t offset, MutableBytes out) const {
  constexpr std::size_t kLarge = 256 * kKiB;
  file_.read_at(offset, out);
  if (out.size() >= kLarge)
    ::posix_fadvise(file_.fd(), static_cast<off_t>(offset), static_cast<off_t>(out.size()),
                    POSIX_FADV_DONTNEED);
}

}  // namespace respaldo::engine
