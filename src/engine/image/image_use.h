// Who else uses a disk image or device, past the flock that our own commands take; and who has written to it.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>

#include "block/write_count.h"
#include "os/file.h"

namespace respaldo::engine {

enum class ImageUse { reading, writing };

// Error(busy), naming the image and what to do, when another program has locked bytes of it (QEMU does, and tells by
// them what it may do) or when a loop device shows it as a disk. For reading only those who write are in the way. Device
// files are asked for locks alone, and only for writing: require_still() asks more. `fd` is what holds our flock: where
// that is a lock of bytes (NFS, SMB), it is not taken for another's.
void require_free(int fd, const os::Path& image, ImageUse use);

// Error(busy) when a block device cannot be expected to stand still while it is read: it is mounted, below something
// active, or lent to a QEMU that writes. Nothing for files, which require_free() has seen.
void require_still(int fd, const os::Path& device);

// "/dev/loop3, which is mounted on /srv": how the file is shown as a disk, and that way in use. The roots are the
// machine's, or a test's.
std::optional<std::string> loop_use(const struct stat& image, ImageUse use, const os::Path& sys = "/sys",
                                    const os::Path& proc = "/proc");

// What changes with every write: of a file its size and the time of its last write, of a block device the kernel's count.
// Does not see: writes through a memory mapping that nobody has synced, writes after which a program set the time back to
// the nanosecond, writes to what lies below a block device, a second write within the same tick where times are coarse (a
// second or two on some filesystems), and on network filesystems another host's writes that this one has not heard of.
class WriteStamp {
 public:
  explicit WriteStamp(int fd);
  // Waits a few milliseconds, until the next write will get another time than the last one got.
  static WriteStamp settled(int fd);
  bool same_as(const WriteStamp& other) const;

 private:
  struct stat st_ {};
  block::WriteCount count_;
};

}  // namespace respaldo::engine
