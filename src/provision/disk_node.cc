#include "provision/disk_node.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "os/file.h"

namespace respaldo::provision {

namespace {

// More than any device has; a disk that forgets what is written to it must not hold us forever.
constexpr int kMostSignatures = 1000;

struct FreeProbe {
  void operator()(blkid_probe probe) const { blkid_free_probe(probe); }
};

void require_same(int fd, const DiskNode& node) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) throw os::system_error(errno, "fstat", node.path);
  const bool other =
      S_ISBLK(facts.st_mode) && (major(facts.st_rdev) != node.major || minor(facts.st_rdev) != node.minor);
  if (other || os::device_size(fd, node.path) != node.size)
    throw Error(ErrorKind::refused,
                fmt::format("{} is not the device any more that was looked at", node.path),
                "nothing was written to it; run again, and look at what it is now");
}

void wipe(int fd, const std::string& path) {
  const std::unique_ptr<std::remove_pointer_t<blkid_probe>, FreeProbe> probe(blkid_new_probe());
  if (!probe || blkid_probe_set_device(probe.get(), fd, 0, 0) != 0)
    throw Error(ErrorKind::io, fmt::format("libblkid cannot look at {}", path));
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_BADCSUM);
  blkid_probe_enable_partitions(probe.get(), 1);
  blkid_probe_set_partitions_flags(probe.get(), BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
  for (int i = 0;; ++i) {
    errno = 0;
    const int found = blkid_do_probe(probe.get());
    if (found == 1) break;
    if (found != 0 || blkid_do_wipe(probe.get(), 0) != 0)
      // Never busy nor refused: something may have gone already.
      throw Error(ErrorKind::io, fmt::format("wipe {}: {}", path, std::strerror(errno != 0 ? errno : EIO)));
    if (i == kMostSignatures)
      throw Error(ErrorKind::io, fmt::format("{} does not keep what is written to it", path));
  }
  os::sync_file(fd, path);
}

}  // namespace

os::UniqueFd open_alone(const std::string& path) {
  struct stat facts {};
  const bool block = ::stat(path.c_str(), &facts) == 0 && S_ISBLK(facts.st_mode);
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | (block ? O_EXCL : 0));
  if (fd < 0 && errno == EBUSY)
    throw Error(ErrorKind::busy,
                fmt::format("{} is in use: the kernel has it or a partition of it mounted (a filesystem of "
                            "several disks, perhaps), in a mapping, in an array or as swap",
                            path),
                "`lsblk` and `fuser -vm` tell by what");
  if (fd < 0) throw os::system_error(errno, "open", path);
  return os::UniqueFd(fd);
}

void wipe_signatures(const DiskNode& disk, const std::vector<DiskNode>& partitions) {
  const os::UniqueFd whole = open_alone(disk.path);
  require_same(whole.get(), disk);
  {
    // Without O_EXCL: who holds the disk alone shuts out himself, too.
    std::vector<os::UniqueFd> parts;
    for (const DiskNode& partition : partitions) {
      parts.push_back(os::open_file(partition.path, O_RDWR | O_CLOEXEC));
      require_same(parts.back().get(), partition);
    }
    for (std::size_t i = 0; i < parts.size(); ++i) wipe(parts[i].get(), partitions[i].path);
  }
  wipe(whole.get(), disk.path);
  // The kernel may forget the partitions now; when it does not, the new table is told to it with patience.
  ::ioctl(whole.get(), BLKRRPART);
}

}  // namespace respaldo::provision
