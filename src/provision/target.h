// A disk becomes a backup target: partition, PV, VG, LV, filesystem, mount point, fstab line.
//
// Planning is pure (a picture and options in, a plan out); acting goes through doors that tests replace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/kernel/tools/lvm_command.h"
#include "machine/picture.h"
#include "os/command_runner.h"
#include "os/file.h"
#include "provision/action.h"
#include "provision/disk_node.h"
#include "provision/partition_door.h"
#include "provision/partition_plan.h"

namespace respaldo::provision {

// The LVM tag of the volumes and groups that `target create` makes.
inline constexpr const char* kTargetTag = "backup_target";
// The option that marks their line in fstab: x-respaldo.target=VG/LV. Programs that do not know it leave it
// alone.
inline constexpr const char* kFstabMark = "x-respaldo.target";

struct TargetOptions {
  std::string disk{};
  std::string group = "backup", volume = "backups";
  bool extend_group = false;            // add the disk to `group`, which exists
  std::optional<std::uint64_t> size{};  // bytes; absent: all there is
  std::string filesystem = "ext4";      // "ext4", "ext3", "xfs"
  std::string mount_point = "/backups";
  TableKind table = TableKind::gpt;
  std::string destroy{};         // the disk, named again: what is on it may go
  unsigned device_timeout = 10;  // seconds that a boot waits for the disk
};

struct TargetPlan {
  std::string disk{}, partition{}, group{}, volume{}, device{}, filesystem{}, uuid{}, mount_point{};
  bool extends_group = false;
  std::optional<std::uint64_t> size{};
  PartitionPlan place{};
  machine::FstabEntry fstab{};
  std::vector<std::string> now{};        // what is on the disk; empty: nothing
  DiskNode node{};                       // the disk
  std::vector<DiskNode> old_nodes{};     // partitions whose signatures go first
  std::vector<std::string> looks{};  // the disk and all on it, one line each, as require_unchanged() compares
  std::vector<std::string> warnings{};
  std::string full_name() const { return group + "/" + volume; }
};

// `uuid` becomes the filesystem's. `unknown_data`: the disk's ends are not empty although nothing known is
// there. Errors: refused (the disk holds something, read-only, a name is taken), busy (in use, whatever was
// said), usage, no_space.
TargetPlan plan_target(const machine::Picture& picture, const TargetOptions& options, const std::string& uuid,
                       bool unknown_data);

// Between the question and the first step somebody may have plugged, mounted or written: Error(refused) when
// the disk is not the one that `shown` was planned for, or does not hold what it held. Both plans are of the
// same options.
void require_unchanged(const TargetPlan& shown, const TargetPlan& now);

struct Doors {
  os::CommandRunner& commands;
  PartitionDoor& partitions;
  os::Path fstab = "/etc/fstab", mountinfo = "/proc/self/mountinfo", systemd = "/run/systemd/system";
};

// What must be right before anything is touched: programs, the mount point (absent or an empty folder),
// fstab. Throws.
void check_surroundings(const TargetPlan& plan, Doors& doors);
// The steps. `doors` must outlive the list.
ActionList target_actions(const TargetPlan& plan, Doors& doors);

}  // namespace respaldo::provision
