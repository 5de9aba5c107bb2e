// How much was written to a block device, as the kernel counts.
#pragma once

#include <cstdint>

namespace respaldo::block {

// Sectors that were written or discarded until now. Documentation/block/stat.rst.
class WriteCount {
 public:
  // What is only in the page cache is written first, since it is not counted before. `fd` may be read-only.
  explicit WriteCount(int fd);
  // False for what is no block device, where sysfs is not there, and when the page cache could not be written.
  bool known() const { return known_; }
  bool same_as(const WriteCount& other) const { return known_ && other.known_ && sectors_ == other.sectors_; }

 private:
  bool known_ = false;
  std::uint64_t sectors_ = 0;
};

}  // namespace respaldo::block
