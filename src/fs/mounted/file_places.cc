#include "fs/mounted/file_places.h"

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsmap.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace respaldo::fs {

namespace {

class Extents {
 public:
  Extents(std::uint64_t size, std::uint32_t block_size, std::uint64_t device_size)
      : size_(size), block_size_(std::max(block_size, 1U)), device_size_(device_size) {}

  void add(FileExtent extent) {
    if (extent.logical < done_ || extent.logical >= size_) return;  // told twice, or behind the end
    extent.length = std::min(extent.length, size_ - extent.logical);
    if (extent.length == 0) return;
    if (!is_sound(extent)) extent.physical = kNoPlace;
    done_ = extent.logical + extent.length;
    if (!result_.empty() && touches(result_.back(), extent))
      result_.back().length += extent.length;
    else
      result_.push_back(extent);
  }
  std::vector<FileExtent> take() { return std::move(result_); }

 private:
  bool is_sound(const FileExtent& extent) const {
    if (extent.unwritten || extent.physical == kNoPlace) return true;
    const std::uint64_t whole = (extent.length + block_size_ - 1) / block_size_ * block_size_;
    return extent.physical % 512 == 0 && whole >= extent.length && extent.physical <= device_size_ &&
           whole <= device_size_ - extent.physical;
  }
  static bool touches(const FileExtent& a, const FileExtent& b) {
    if (a.logical + a.length != b.logical || a.unwritten != b.unwritten) return false;
    if (a.unwritten || a.physical == kNoPlace || b.physical == kNoPlace) return a.physical == b.physical;
    return a.physical + a.length == b.physical;
  }

  const std::uint64_t size_, block_size_, device_size_;
  std::uint64_t done_ = 0;
  std::vector<FileExtent> result_;
};

bool by_fiemap(int fd, std::uint64_t size, Extents& extents) {
  constexpr std::uint32_t kNowhere = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |
                                     FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED |
                                     FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL;
  constexpr std::uint32_t kAtOnce = 128;
  alignas(fiemap) std::array<char, sizeof(fiemap) + kAtOnce * sizeof(fiemap_extent)> buffer;
  std::uint64_t next = 0;
  while (next < size) {
    fiemap head{};
    head.fm_start = next;
    head.fm_length = size - next;
    head.fm_extent_count = kAtOnce;
    std::memcpy(buffer.data(), &head, sizeof head);
    if (::ioctl(fd, FS_IOC_FIEMAP, buffer.data()) != 0) return false;
    std::memcpy(&head, buffer.data(), sizeof head);
    bool last = head.fm_mapped_extents == 0;
    for (std::uint32_t i = 0; i < std::min(head.fm_mapped_extents, kAtOnce); ++i) {
      fiemap_extent one;
      std::memcpy(&one, buffer.data() + sizeof head + i * sizeof one, sizeof one);
      last |= (one.fe_flags & FIEMAP_EXTENT_LAST) != 0;
      const std::uint64_t end = one.fe_logical + one.fe_length;
      if (one.fe_length == 0 || end <= next) return false;  // it does not go on: not to be trusted
      const bool unwritten = (one.fe_flags & FIEMAP_EXTENT_UNWRITTEN) != 0;
      extents.add({one.fe_logical, (one.fe_flags & kNowhere) != 0 ? kNoPlace : one.fe_physical, one.fe_length,
                   unwritten && (one.fe_flags & FIEMAP_EXTENT_DELALLOC) == 0});
      next = end;
    }
    if (last) break;
  }
  return true;
}

bool by_fibmap(int fd, std::uint64_t size, Extents& extents) {
  constexpr std::uint64_t kMostSteps = 4U << 20;
  int unit = 0;
  struct stat st {};
  if (::ioctl(fd, FIGETBSZ, &unit) != 0 || unit <= 0 || ::fstat(fd, &st) != 0) return false;
  // Clusters lie in one piece.
  const std::uint64_t block = static_cast<unsigned>(unit);
  const std::uint64_t cluster = std::max<std::uint64_t>(static_cast<std::uint64_t>(st.st_blksize), block);
  if (cluster % block != 0 || size / cluster > kMostSteps || size / block > INT32_MAX) return false;
  for (std::uint64_t at = 0; at < size; at += cluster) {
    int number = static_cast<int>(at / block);
    if (::ioctl(fd, FIBMAP, &number) != 0) return false;
    extents.add({at, number <= 0 ? kNoPlace : static_cast<std::uint64_t>(number) * block, cluster, false});
  }
  return true;
}

// Only data and holes.
void by_seek(int fd, std::uint64_t size, Extents& extents) {
  std::uint64_t at = 0;
  while (at < size) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return;
    if (data < static_cast<off_t>(at)) break;
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    if (hole <= data) break;
    extents.add({static_cast<std::uint64_t>(data), kNoPlace, static_cast<std::uint64_t>(hole - data), false});
    at = static_cast<std::uint64_t>(hole);
  }
  extents.add({at, kNoPlace, size - std::min(at, size), false});
}

}  // namespace

std::vector<FileExtent> file_places(int fd, std::uint64_t size, Places how, std::uint32_t block_size,
                                    std::uint64_t device_size) {
  if (size == 0) return {};
  if (how != Places::unknown) {
    Extents extents(size, block_size, device_size);
    if (how == Places::fiemap ? by_fiemap(fd, size, extents) : by_fibmap(fd, size, extents))
      return extents.take();
  }
  Extents extents(size, block_size, device_size);
  by_seek(fd, size, extents);
  return extents.take();
}

ExtentSet free_space(int fd, std::uint64_t device_size) {
  constexpr std::uint32_t kAtOnce = 1024;
  struct stat st {};
  if (::fstat(fd, &st) != 0) return {};
  std::vector<char> buffer(fsmap_sizeof(kAtOnce));
  auto* head = reinterpret_cast<fsmap_head*>(buffer.data());
  head->fmh_count = kAtOnce;
  fsmap& high = head->fmh_keys[1];
  high.fmr_device = high.fmr_flags = ~0U;
  high.fmr_physical = high.fmr_owner = high.fmr_offset = ~0ULL;
  const auto device = static_cast<std::uint32_t>(st.st_dev);
  std::vector<Extent> found;
  for (;;) {
    const fsmap from = head->fmh_keys[0];
    if (::ioctl(fd, FS_IOC_GETFSMAP, head) != 0 || head->fmh_entries > kAtOnce) return {};
    if (head->fmh_entries == 0) break;
    for (std::uint32_t i = 0; i < head->fmh_entries; ++i) {
      const fsmap& one = head->fmh_recs[i];
      if (one.fmr_device != device) continue;  // a log or a realtime volume elsewhere
      if (one.fmr_length > device_size || one.fmr_physical > device_size - one.fmr_length) return {};
      if ((one.fmr_flags & FMR_OF_SPECIAL_OWNER) != 0 && one.fmr_owner == FMR_OWN_FREE)
        found.push_back({one.fmr_physical, one.fmr_length});
    }
    if ((head->fmh_recs[head->fmh_entries - 1].fmr_flags & FMR_OF_LAST) != 0) break;
    fsmap_advance(head);
    if (std::memcmp(&from, &head->fmh_keys[0], sizeof from) == 0) return {};  // it does not go on
  }
  ExtentSet result;
  for (const Extent& extent : found) result.add(extent);
  return result;
}

}  // namespace respaldo::fs
