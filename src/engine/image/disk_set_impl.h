// The inside of a DiskSet, shared by its three files: opening, scanning, committing.
#pragma once

#include "block/file_device.h"
#include "engine/image/image_engine.h"
#include "engine/image/image_use.h"

namespace respaldo::engine {

struct DiskSet::Impl {
  LockMode mode = LockMode::shared;
  std::vector<std::shared_ptr<block::FileDevice>> devices;  // each keeps its lock
  std::vector<FoundDisk> disks;
  std::vector<FoundPv> pvs;
  std::vector<Group> groups;
  std::vector<std::string> warnings;
  std::function<void(std::string_view)> before_step;
  std::vector<WriteStamp> stamps;  // one for each device while they are watched
  std::string written;             // the first that another program wrote to

  void take_stamps();
  void look_for_writes();
  void require_exclusive() const;
  block::DevicePtr extent_device(const FoundPv& pv) const;
  // Error(refused) for a duplicate; a missing one reads as Error(missing).
  block::DevicePtr pv_device(const Group& group, const std::string& uuid) const;
  block::WritableDevicePtr writable_pv(std::size_t pv);

  // Forgets what was known and looks at every disk again.
  void scan();

 private:
  void scan_disk(std::size_t disk);
  void scan_place(std::size_t disk, std::optional<unsigned> partition, Extent extent,
                  const std::string& name);
  void assemble_groups();
  void attach_pvs(Group& group, const std::map<std::string, std::string>& own_group);
};

}  // namespace respaldo::engine
