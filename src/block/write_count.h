// How much was written to a block device, as the kernel counts.
#pragma once

#include <cstdint>

namespace respaldo::block {

// Sectors that were written or discarded until now. Documentation/block/stat.rst.
class WriteCount {
 public:
  explicit WriteCount(int fd);
  // False for what is no block device, or where sysfs is not there.
  bool known() const { return known_; }
  bool same_as(const WriteCount& other) const { return known_ && other.known_ && sectors_ == other.sectors_; }

 private:
  bool known_ = false;
  std::uint64_t sectors_ = 0;
};

}  // namespace respaldo::block
