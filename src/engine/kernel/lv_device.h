// A logical volume's block device.
#pragma once

#include <chrono>
#include <string>

#include "block/file_device.h"
#include "engine/kernel/world.h"

namespace respaldo::engine {

// Opens the node of the device with that device-mapper UUID for reading (or with more `flags`: O_RDWR,
// O_EXCL), and makes sure that it is that device. Waits for the node: udev makes it a moment later. Error(io)
// when it does not appear.
os::UniqueFd open_lv_node(World& world, const std::string& uuid, int flags,
                          std::chrono::milliseconds patience = std::chrono::seconds(10));

// Reads a volume once, from end to end, without pushing everything else out of the page cache: what a large
// read brought in is dropped again. Small reads (a filesystem's metadata) stay cached. Thread-safe.
class LvDevice final : public block::Device {
 public:
  LvDevice(std::string name, os::Path path, os::UniqueFd fd)
      : name_(std::move(name)), file_(std::move(path), std::move(fd), block::FileDevice::Access::read_only) {}
  std::uint64_t size() const override { return file_.size(); }
  std::string describe() const override { return name_; }
  void read_at(std::uint64_t offset, MutableBytes out) const override;
  const os::Path& path() const { return file_.path(); }
  int fd() const { return file_.fd(); }

 private:
  const std::string name_;
  const block::FileDevice file_;
};

}  // namespace respaldo::engine
