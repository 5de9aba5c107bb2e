// LVM in userspace, over disk image files and block devices: no root, no device-mapper.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/volume_engine.h"
#include "fs/part/partition_table.h"
#include "lvm/pv_label.h"
#include "lvm/volume_group.h"
#include "os/file.h"

namespace respaldo::engine {

enum class LockMode {
  none,       // only to look: what is read may change meanwhile
  shared,     // others may read
  exclusive,  // nobody else may read or write
};

// One PV found on an image: the whole disk or a partition of it.
struct FoundPv {
  std::size_t disk = 0;  // index into DiskSet::disks()
  std::optional<unsigned> partition;
  Extent extent;  // bytes of the disk
  lvm::PvLabel label;
  std::vector<lvm::MetadataAreaState> areas;
  std::string name;  // "disk.img" or "disk.img:1" (partition 1)
  std::string vg;    // the group whose winning metadata lists it; empty for an orphan
};

struct FoundDisk {
  os::Path path;
  std::uint64_t size = 0;
  std::optional<fs::PartitionTable> partitions;
};

// The images given with --disk, locked, scanned and assembled into their volume groups. A group's metadata is
// the valid copy of the highest seqno over all areas of all its PVs. Not thread-safe, but the devices it
// hands out are.
class DiskSet {
 public:
  struct Group {
    lvm::VolumeGroup vg;
    std::map<std::string, std::size_t> pvs;  // plain UUID -> index into pvs(); missing ones are absent
    std::set<std::string> duplicate_pvs;     // plain UUIDs found on several disks: must not be used
    std::set<std::string> outdated_pvs;      // carry older text of this group but are no longer listed
    bool name_is_ambiguous = false;          // another group of that name is present
    bool inconsistent = false;               // equal seqno, different text: must not be written
  };

  // Error(busy) when a lock cannot be had within `patience` milliseconds; its message names the owner and its
  // hint says what to do. When the owner is an activation, HeldByActivation is thrown instead. Error(busy) at once when
  // one to be opened exclusively is used by a program that knows nothing of our locks: require_free() of
  // engine/image/image_use.h.
  static std::unique_ptr<DiskSet> open(const std::vector<os::Path>& images, LockMode mode,
                                       int patience_ms = 5000);
  ~DiskSet();

  const std::vector<FoundDisk>& disks() const;
  const std::vector<FoundPv>& pvs() const;
  const std::vector<Group>& groups() const;
  // By name, or by dashed UUID. Error(not_found), or Error(usage) when the name is ambiguous.
  const Group& group(std::string_view name) const;
  // What was found wrong while scanning: damaged copies, duplicates, missing and outdated PVs.
  const std::vector<std::string>& warnings() const;

  block::DevicePtr disk_device(std::size_t disk) const;
  block::WritableDevicePtr writable_disk(std::size_t disk);  // REQUIRES exclusive
  block::WritableDevicePtr writable_pv(std::size_t pv);      // REQUIRES exclusive

  // What the user sees under this name, readable. Errors as dm::assemble's, context names the volume.
  block::DevicePtr open_lv(const Group& group, const lvm::LogicalVolume& lv) const;
  // A layer: "real" (below snapshot-origin), "cow" (the store itself).
  block::DevicePtr open_layer(const Group& group, const lvm::LogicalVolume& lv, std::string_view layer) const;
  // The same two, writable, linear and striped only. No copy on write: for SnapshotSet and for fresh LVs. Error as of
  // write_refusal().
  block::WritableDevicePtr open_layer_writable(const Group& group, const lvm::LogicalVolume& lv,
                                               std::string_view layer);

  // Replaces the group by `next` (whose seqno becomes the old one + 1): labels that need it, then the commit
  // of lvm/pv_label.h over all areas of all present PVs. Error(refused) when a PV is missing, the group is
  // inconsistent, foreign (system_id), shared (lock_type), exported, or has types that must not be touched.
  // A name that no group has makes a new group with `next`'s UUID and seqno 1. PVs that are new in `next`
  // must be orphans on these images: their labels are marked in use after the commit. PVs that `next` no
  // longer lists are cleared and marked unused after the commit. A `next` with another name renames the
  // group. Scans again at the end.
  // With Contradiction::settle a group that contradicts itself is no refusal: `next` is what is right.
  enum class Contradiction { refuse, settle };
  void commit(const std::string& vg_name, lvm::VolumeGroup next, std::string_view description,
              Contradiction contradiction = Contradiction::refuse);
  // Takes the group away: all its metadata areas are cleared, its labels marked unused. Same refusals. Scans
  // again.
  void remove_group(const std::string& vg_name);
  // Scans again after labels changed.
  void rescan();
  // Notes from the first call on when another program writes to the images (engine/image/image_use.h says what cannot be
  // seen). Error(busy) when one is in use by another program and may change at any moment.
  void watch();
  // Error(busy), naming the image, once one was written to.
  void require_unwritten() const;
  // Runs a change of our own, for which nobody else is blamed; what others write during it is not seen. Error(busy), and
  // nothing is changed, once another program wrote.
  void write_ourselves(const std::function<void()>& change);
  // For tests: called before every write of commit() and remove_group(); may throw to stop there.
  void set_before_step(std::function<void(std::string_view)> hook);

  struct Impl;  // engine/image/disk_set_impl.h

 private:
  explicit DiskSet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Why neither the group's volumes nor its metadata may be written, whatever is asked for: its metadata contradicts itself,
// or it is foreign (system_id), shared (lock_type) or exported.
std::optional<Error> write_refusal(const DiskSet::Group& group);

// The images belong to a running `respaldo activate`: talk to it instead.
struct ActivationAddress {
  long pid = 0;
  os::Path socket;  // control socket
  os::Path mount_point;
};
class HeldByActivation : public std::exception {
 public:
  explicit HeldByActivation(ActivationAddress address) : address_(std::move(address)) {}
  const ActivationAddress& address() const { return address_; }
  const char* what() const noexcept override { return "the images are served by a running activation"; }

 private:
  ActivationAddress address_;
};

// The engine for --disk. Opens the images per call, so that no lock is held between calls; leases and devices
// hold one as long as they live. While an activation serves the images it talks to it.
std::unique_ptr<VolumeEngine> make_image_engine(std::vector<os::Path> images);

}  // namespace respaldo::engine
