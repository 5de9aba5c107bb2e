// The steps of `target create`, each with its way back.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/units.h"
#include "journal/names.h"
#include "machine/tables.h"
#include "provision/fstab_edit.h"
#include "provision/target.h"
#include "provision/tools.h"

namespace respaldo::provision {

namespace {

using engine::LvmCommand;

Action wipe(const TargetPlan& plan, Doors& doors) {
  return {.text = fmt::format("destroy what is on {}", plan.disk),
          .command = fmt::format("wipefs --all {}", plan.disk),
          .apply = [plan, &doors](std::stop_token) { doors.partitions.wipe(plan.node, plan.old_nodes); },
          .final = true};
}

Action partition(const TargetPlan& plan, Doors& doors) {
  auto saved = std::make_shared<PartitionDoor::Ends>();
  return {.text = fmt::format("make a {} on {} with one LVM partition of {}, from {} on",
                              to_string(plan.place.kind), plan.disk, format_size(plan.place.length),
                              format_size(plan.place.start)),
          .command = fmt::format("fdisk {}", plan.disk),
          .apply =
              [plan, saved, &doors](std::stop_token stop) {
                // Read again here: what the wipe took away shall not come back half.
                *saved = doors.partitions.save(plan.disk);
                doors.partitions.write(plan.disk, plan.place);
                settle(doors);
                doors.partitions.wait_for(plan.partition, PartitionDoor::Wanted::present, stop);
              },
          .undo =
              [plan, saved, &doors] {
                if (saved->head.size() == 0) return;
                doors.partitions.restore(plan.disk, *saved);
                settle(doors);
                doors.partitions.wait_for(plan.partition, PartitionDoor::Wanted::absent, {});
              },
          .undo_text = fmt::format("take the partition table off {}", plan.disk)};
}

Action physical_volume(const TargetPlan& plan, Doors& doors) {
  const std::string alignment = fmt::format("{}k", plan.place.alignment / kKiB);
  return {.text = fmt::format("make a physical volume of {}, its data aligned to {}", plan.partition,
                              format_size(plan.place.alignment)),
          .command = fmt::format("pvcreate --dataalignment {} {}", alignment, plan.partition),
          .apply =
              [plan, alignment, &doors](std::stop_token stop) {
                LvmCommand(doors.commands)
                    .change({"pvcreate", "--yes", "--dataalignment", alignment, plan.partition}, stop);
              },
          .undo =
              [plan, &doors] {
                const LvmCommand lvm(doors.commands);
                const auto pvs = lvm.pvs();
                if (std::any_of(pvs.rows.begin(), pvs.rows.end(),
                                [&](const auto& pv) { return pv.name == plan.partition; }))
                  lvm.change({"pvremove", "--yes", plan.partition});
              },
          .undo_text = fmt::format("pvremove {}", plan.partition)};
}

Action own_group(const TargetPlan& plan, Doors& doors) {
  return {.text = fmt::format("make the volume group {} on it", plan.group),
          .command = fmt::format("vgcreate --addtag {} {} {}", kTargetTag, plan.group, plan.partition),
          .apply =
              [plan, &doors](std::stop_token stop) {
                LvmCommand(doors.commands)
                    .change({"vgcreate", "--yes", "--addtag", kTargetTag, plan.group, plan.partition}, stop);
              },
          .undo =
              [plan, &doors] {
                const LvmCommand lvm(doors.commands);
                const auto pvs = lvm.pvs();
                // By the PV: a group of that name on other disks is not ours.
                if (std::any_of(pvs.rows.begin(), pvs.rows.end(), [&](const auto& pv) {
                      return pv.name == plan.partition && pv.vg == plan.group;
                    }))
                  lvm.change({"vgremove", plan.group});  // without a yes only when it is empty
              },
          .undo_text = fmt::format("vgremove {}", plan.group)};
}

Action grown_group(const TargetPlan& plan, Doors& doors) {
  return {.text = fmt::format("add it to the volume group {}", plan.group),
          .command = fmt::format("vgextend {} {}", plan.group, plan.partition),
          .apply =
              [plan, &doors](std::stop_token stop) {
                LvmCommand(doors.commands).change({"vgextend", "--yes", plan.group, plan.partition}, stop);
              },
          .undo =
              [plan, &doors] {
                const LvmCommand lvm(doors.commands);
                const auto pvs = lvm.pvs();
                if (std::any_of(pvs.rows.begin(), pvs.rows.end(), [&](const auto& pv) {
                      return pv.name == plan.partition && pv.vg == plan.group;
                    }))
                  lvm.change({"vgreduce", "--yes", plan.group, plan.partition});
              },
          .undo_text = fmt::format("vgreduce {} {}", plan.group, plan.partition)};
}

Action logical_volume(const TargetPlan& plan, Doors& doors) {
  const std::string mark = journal::new_run_tag();  // another run may have made one of this name
  const std::vector<std::string> size =
      plan.size ? std::vector<std::string>{"--size", fmt::format("{}b", *plan.size)}
                : std::vector<std::string>{"--extents", "100%PVS"};
  return {.text = fmt::format("make the volume {} on {}, {}", plan.full_name(), plan.partition,
                              plan.size ? format_size(*plan.size) : std::string("all of it")),
          .command = fmt::format("lvcreate {} {} --name {} {} {}", size[0], size[1], plan.volume, plan.group,
                                 plan.partition),
          .apply =
              [plan, size, mark, &doors](std::stop_token stop) {
                LvmCommand(doors.commands)
                    .change({"lvcreate", "--yes", "--wipesignatures", "y", "--addtag", kTargetTag, "--addtag", mark,
                             size[0], size[1], "--name", plan.volume, plan.group, plan.partition},
                            stop);
              },
          .undo =
              [plan, mark, &doors] {
                const LvmCommand lvm(doors.commands);
                const auto lvs = lvm.lvs();
                if (std::any_of(lvs.rows.begin(), lvs.rows.end(), [&](const auto& lv) {
                      return lv.vg == plan.group && lv.name == plan.volume && lv.has_tag(mark);
                    }))
                  remove_volume(lvm, plan.full_name());
              },
          .undo_text = fmt::format("lvremove {}", plan.full_name())};
}

Action filesystem(const TargetPlan& plan, Doors& doors) {
  const auto words = mkfs_words(plan);
  std::string shown;
  for (const std::string& word : words) shown += (shown.empty() ? "" : " ") + word;
  return {.text = fmt::format("make a filesystem on {} ({})", plan.full_name(), plan.filesystem),
          .command = shown,
          .apply = [words, &doors](std::stop_token stop) { run_tool(doors.commands, words, stop); }};
}

// Remembers the folders that were not there before.
Action mount_point(const TargetPlan& plan) {
  auto made = std::make_shared<std::vector<os::Path>>();
  return {.text = fmt::format("make the mount point {}", plan.mount_point),
          .command = fmt::format("mkdir -p {}", plan.mount_point),
          .apply =
              [plan, made](std::stop_token) {
                os::Path at;
                for (const os::Path& part : os::Path(plan.mount_point)) {
                  at /= part;
                  if (::mkdir(at.c_str(), 0755) == 0)
                    made->push_back(at);
                  else if (errno != EEXIST)
                    throw os::system_error(errno, "mkdir", at);
                }
              },
          .undo =
              [made] {
                for (auto it = made->rbegin(); it != made->rend(); ++it)
                  if (::rmdir(it->c_str()) != 0 && errno != ENOENT)
                    throw os::system_error(errno, "rmdir", *it);
              },
          .undo_text = fmt::format("rmdir {}", plan.mount_point)};
}

Action fstab(const TargetPlan& plan, Doors& doors) {
  auto change = std::make_shared<std::optional<FstabChange>>();
  std::string line = fstab_line(plan.fstab);
  line.pop_back();
  return {.text = fmt::format("add a line to {}; the old one is kept beside it", doors.fstab.native()),
          .command = line,
          .apply =
              [plan, change, &doors](std::stop_token) {
                *change = add_to_fstab(doors.fstab, plan.fstab);
                tell_systemd(doors);
              },
          .undo =
              [plan, change, &doors] {
                if (!*change) return;
                undo_fstab(doors.fstab, **change, plan.fstab);
                tell_systemd(doors);
              },
          .undo_text = fmt::format("take the line of {} out of {}", plan.mount_point, doors.fstab.native())};
}

Action mounting(const TargetPlan& plan, Doors& doors) {
  return {.text = fmt::format("mount it at {}, by that line", plan.mount_point),
          .command = fmt::format("mount {}", plan.mount_point),
          .apply =
              [plan, &doors](std::stop_token) {
                // With the line in place systemd may have been quicker.
                if (!is_mounted(doors, plan.mount_point))
                  run_tool(doors.commands, {"mount", "--fstab", doors.fstab.native(), plan.mount_point});
                if (!is_mounted(doors, plan.mount_point))
                  throw Error(ErrorKind::io,
                              fmt::format("{} was mounted, and is not there", plan.mount_point));
              },
          .undo = [plan, &doors] { unmount(doors, plan.mount_point); },
          .undo_text = fmt::format("umount {}", plan.mount_point)};
}

}  // namespace

std::vector<std::string> mkfs_words(const TargetPlan& plan) {
  if (plan.filesystem == "xfs")
    return {"mkfs.xfs", "-q", "-m", "uuid=" + plan.uuid, "-L", "respaldo", plan.device};
  // Nothing of the system lives there that would need the reserve. Packs are large: on large disks an inode
  // for each MiB does, and gives 1.5 % of the disk back.
  std::vector<std::string> words = {
      "mkfs." + plan.filesystem, "-q", "-U", plan.uuid, "-L", "respaldo", "-m", "0"};
  if (plan.size.value_or(plan.place.length) >= 64 * kGiB) words.insert(words.end(), {"-T", "largefile"});
  words.push_back(plan.device);
  return words;
}

ActionList target_actions(const TargetPlan& plan, Doors& doors) {
  ActionList actions;
  if (!plan.now.empty()) actions.push_back(wipe(plan, doors));
  actions.push_back(partition(plan, doors));
  actions.push_back(physical_volume(plan, doors));
  actions.push_back(plan.extends_group ? grown_group(plan, doors) : own_group(plan, doors));
  actions.push_back(logical_volume(plan, doors));
  actions.push_back(filesystem(plan, doors));
  actions.push_back(mount_point(plan));
  actions.push_back(fstab(plan, doors));
  actions.push_back(mounting(plan, doors));
  return actions;
}

}  // namespace respaldo::provision
