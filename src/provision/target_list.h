// The targets of a host: what `target create` made, found again by the tag on its volume and the mark in
// fstab.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "provision/target.h"

namespace respaldo::provision {

struct Target {
  std::string group{}, volume{}, mount_point{};
  bool there = false;  // lvm2 shows the volume
  bool active = false, mounted = false, in_fstab = false;
  std::optional<machine::FstabEntry> fstab{};
  std::vector<std::string> disks{};  // "/dev/sdb (WD Elements, usb)"
  std::string filesystem{}, uuid{};
  std::uint64_t volume_size = 0;
  std::optional<std::uint64_t> size{}, available{};  // of the mounted filesystem
  std::vector<std::string> problems{};               // each a sentence with what to do
  std::string full_name() const { return group + "/" + volume; }
};

// Those whose disk is not there now, too, as far as fstab names them.
std::vector<Target> find_targets(const machine::Picture& picture);
// By VG/LV, device path or mount point; the only one when `named` is empty. Error(not_found), Error(usage)
// when several.
const Target& choose_target(const std::vector<Target>& targets, const std::string& named);

struct RemovalPlan {
  Target target;
  std::string wipe{};                   // VG/LV whose data goes; empty: the data stays
  std::string wiped_uuid{};             // that volume's, as lvm2 knows it
  std::vector<std::string> free_pvs{};  // PVs that nothing else uses: taken out of their group
  bool whole_group = false;             // the group goes, too
};
// `wipe` names the volume once more. Error(refused) when it names another.
RemovalPlan plan_removal(const machine::Picture& picture, const Target& target, const std::string& wipe);
// As of a TargetPlan: Error(refused) when the target is not the one, or not in the state, that `shown` was planned for.
void require_unchanged(const RemovalPlan& shown, const RemovalPlan& now);
ActionList removal_actions(const RemovalPlan& plan, Doors& doors);

}  // namespace respaldo::provision
