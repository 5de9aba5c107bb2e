#include "engine/image/image_use.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <sstream>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "os/kernel_files.h"
#include "os/unique_fd.h"

namespace respaldo::engine {

namespace {

using os::line_of, os::names_in, os::text_of;

// QEMU holds a shared lock on byte 100 + N for each permission N that it uses (block/file-posix.c); 1 is to write.
constexpr off_t kQemuWrites = 100 + 1;

// The lock that somebody else has there. Filesystems without such locks have none.
std::optional<struct flock> lock_of_others(int fd, short type, off_t start, off_t length) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  if (::fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return std::nullopt;
  return lock;
}

bool is_smb(int fd) {
  struct statfs fs {};
  if (::fstatfs(fd, &fs) != 0) return false;
  // Some of the numbers fill 32 bits, which a signed field shows as negative.
  const auto type = static_cast<std::uint32_t>(fs.f_type);
  return type == 0xFF534D42 || type == 0xFE534D42 || type == 0x517B;  // cifs, smb3, smbfs
}

bool is_locked_for(int fd, ImageUse use) {
  if (use == ImageUse::writing) {
    const auto lock = lock_of_others(fd, F_WRLCK, 0, 0);
    // On SMB our own flock is shown as a lock of all bytes; the server lets nobody else have one beside it.
    return lock && !(lock->l_type == F_WRLCK && lock->l_start == 0 && lock->l_len == 0 && is_smb(fd));
  }
  if (lock_of_others(fd, F_RDLCK, 0, 0)) return true;
  const auto lock = lock_of_others(fd, F_WRLCK, kQemuWrites, 1);
  // On NFS the flock of another reader of ours is a shared lock of all bytes.
  return lock && !(lock->l_start == 0 && lock->l_len == 0);
}

Error locked_by_others(const os::Path& image, ImageUse use) {
  return Error(ErrorKind::busy,
               fmt::format("{} is in use by another program (a running virtual machine?)", printable(image.native())),
               use == ImageUse::writing
                   ? "shut it down first"
                   : "shut it down, or make the backup inside of it, or from a snapshot of the image");
}

// Where a block device ("7:3", "loop3") is mounted. btrfs shows numbers of its own there, but the device's name.
std::optional<std::string> mount_point(const std::string& mountinfo, const std::string& number, const std::string& name,
                                       ImageUse use) {
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream row(line);
    std::vector<std::string> words;
    for (std::string word; row >> word;) words.push_back(std::move(word));
    const auto dash = std::ranges::find(words, "-");
    if (words.size() < 7 || words.end() - dash < 4) continue;
    // Those of the filesystem: a single mount of it may be read-only for itself.
    const std::string& options = dash[3];
    const bool read_only = options == "ro" || options.starts_with("ro,");
    if ((words[2] == number || dash[2] == "/dev/" + name) && (use == ImageUse::writing || !read_only))
      return os::unescaped(words[4]);
  }
  return std::nullopt;
}

// How a device out of sysfs is used by the kernel; empty when it is not.
std::string use_of_device(const os::Path& device, const std::string& mountinfo, ImageUse use) {
  const std::string name = device.filename().native();
  if (const auto point = mount_point(mountinfo, line_of(device / "dev"), name, use))
    return fmt::format("/dev/{}, which is mounted on {}", name, printable(*point));
  for (const std::string& holder : names_in(device / "holders")) {
    const std::string mapped = line_of(device / "holders" / holder / "dm/name");
    return fmt::format("/dev/{}, which is below {}", name, printable(mapped.empty() ? holder : mapped));
  }
  return {};
}

bool has_partitions(dev_t device) {
  const os::Path place = fmt::format("/sys/dev/block/{}:{}", ::major(device), ::minor(device));
  return std::ranges::any_of(names_in(place), [&](const std::string& name) {
    std::error_code failed;
    return std::filesystem::exists(place / name / "partition", failed);
  });
}

}  // namespace

std::optional<std::string> loop_use(const struct stat& image, ImageUse use, const os::Path& sys, const os::Path& proc) {
  std::string mountinfo;
  for (const std::string& name : names_in(sys / "block")) {
    if (!name.starts_with("loop")) continue;
    const os::Path device = sys / "block" / name;
    const std::string file = line_of(device / "loop/backing_file");
    struct stat st {};
    if (file.empty() || ::stat(file.c_str(), &st) != 0 || st.st_dev != image.st_dev || st.st_ino != image.st_ino)
      continue;
    const bool read_only = line_of(device / "ro") == "1";
    if (read_only && use == ImageUse::reading) continue;
    if (mountinfo.empty()) mountinfo = text_of(proc / "self/mountinfo");
    std::string found = use_of_device(device, mountinfo, use);
    for (const std::string& part : names_in(device))
      if (found.empty() && part.starts_with(name + "p")) found = use_of_device(device / part, mountinfo, use);
    if (!found.empty()) return found;
    if (!read_only && use == ImageUse::writing) return fmt::format("/dev/{}, which others may write to", name);
  }
  return std::nullopt;
}

void require_free(int fd, const os::Path& image, ImageUse use) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) throw os::system_error(errno, "fstat", image);
  if (!S_ISREG(st.st_mode) && use == ImageUse::reading) return;
  if (is_locked_for(fd, use)) throw locked_by_others(image, use);
  if (!S_ISREG(st.st_mode)) return;
  if (const auto found = loop_use(st, use))
    throw Error(ErrorKind::busy, fmt::format("{} is in use as {}", printable(image.native()), *found),
                "unmount it, or deactivate the volume group on it (vgchange -an), and detach it (losetup -d)");
}

void require_still(int fd, const os::Path& device) {
  struct stat st {};
  if (::fstat(fd, &st) != 0 || !S_ISBLK(st.st_mode)) return;
  if (is_locked_for(fd, ImageUse::reading)) throw locked_by_others(device, ImageUse::reading);
  // Who mounts or maps a device claims it, and so do others for a moment while they look at it, we among them. It is
  // not kept: several may read at once.
  for (int tries = 10;; --tries) {
    const os::UniqueFd claim(::open(device.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK));
    if (claim || errno != EBUSY) return;
    if (tries == 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const auto point = mount_point(text_of("/proc/self/mountinfo"),
                                 fmt::format("{}:{}", ::major(st.st_rdev), ::minor(st.st_rdev)),
                                 device.filename().native(), ImageUse::writing);
  throw Error(ErrorKind::busy,
              fmt::format("{} is in use ({}): it may change while it is read", printable(device.native()),
                          point ? "mounted on " + printable(*point) : "mounted, or below an active volume"),
              fmt::format("back up volumes of this system without --disk, from snapshots; or unmount it, or deactivate the "
                          "volume group on it (vgchange -an){}",
                          has_partitions(st.st_rdev)
                              ? "; when another partition is in use, give the volumes' one alone (--disk /dev/sda2)"
                              : ""));
}

WriteStamp::WriteStamp(int fd) : count_(fd) { ::fstat(fd, &st_); }

WriteStamp WriteStamp::settled(int fd) {
  for (int tries = 50;; --tries) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);  // the clock of file times, read before them
    const WriteStamp stamp(fd);
    const timespec& last = stamp.st_.st_mtim;
    const bool past = last.tv_sec != now.tv_sec ? last.tv_sec < now.tv_sec : last.tv_nsec < now.tv_nsec;
    // A server's clock may be ahead of ours: it is not waited for.
    if (past || tries == 0 || !S_ISREG(stamp.st_.st_mode)) return stamp;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

bool WriteStamp::same_as(const WriteStamp& other) const {
  const auto same = [](const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; };
  if (S_ISREG(st_.st_mode))
    // Not the time of the last change of the inode: new owners, names and times of reading are no writes.
    return st_.st_size == other.st_.st_size && same(st_.st_mtim, other.st_.st_mtim);
  return (!count_.known() && !other.count_.known()) || count_.same_as(other.count_);
}

}  // namespace respaldo::engine
