#include "provision/target.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/units.h"
#include "lvm/volume_group.h"
#include "provision/disk_use.h"

namespace respaldo::provision {

namespace {

using machine::Device;
using machine::Picture;

std::string lines(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : "; ") + item;
  return text;
}

void require_may_be_used(const Picture& picture, const Device& disk, const TargetOptions& options,
                         const DiskUse& use) {
  if (!use.in_use.empty())
    throw Error(ErrorKind::busy, fmt::format("{} is in use: {}", disk.path, lines(use.in_use)),
                "end that first; --destroy does not help against it");
  if (disk.read_only)
    throw Error(ErrorKind::refused, fmt::format("{} is read-only", disk.path),
                "some disks have a switch for that");
  const bool named = !options.destroy.empty();
  if (named && machine::resolve(picture, options.destroy) != &disk)
    throw Error(ErrorKind::usage,
                fmt::format("--destroy names {}, but the disk is {}", options.destroy, options.disk),
                "name the same disk twice, if its content may go");
  if (!use.holds.empty() && !named)
    throw Error(
        ErrorKind::refused, fmt::format("{} is not empty: {}", disk.path, lines(use.holds)),
        fmt::format("if all of it may be lost, say so by naming the disk again: --destroy {}", options.disk));
}

void require_names_are_free(const Picture& picture, const TargetOptions& options) {
  if (const auto problem = lvm::vg_name_problem(options.group))
    throw Error(ErrorKind::usage, fmt::format("volume group {}: {}", options.group, *problem));
  if (const auto problem = lvm::lv_name_problem(options.group, options.volume))
    throw Error(ErrorKind::usage, fmt::format("volume {}: {}", options.volume, *problem));
  const auto count = std::count_if(picture.vgs.begin(), picture.vgs.end(),
                                   [&](const auto& vg) { return vg.name == options.group; });
  if (!options.extend_group && count > 0)
    throw Error(
        ErrorKind::refused, fmt::format("there is a volume group {} already", options.group),
        fmt::format("choose another name with --vg, or add the disk to that group with --extend-vg {}",
                    options.group));
  if (!options.extend_group) return;
  if (count == 0)
    throw Error(ErrorKind::not_found, fmt::format("there is no volume group {} to extend", options.group),
                "`vgs` lists the groups");
  if (count > 1)
    throw Error(ErrorKind::refused, fmt::format("{} groups are named {}", count, options.group),
                "rename one with `vgrename`");
  const engine::VgRow* vg = machine::find_group(picture, options.group);
  if (vg->partial || vg->missing_pvs > 0)
    throw Error(ErrorKind::missing,
                fmt::format("the group {} lacks PVs; it cannot be extended", options.group),
                "`respaldo layout` tells which");
  if (vg->exported || !vg->writable)
    throw Error(ErrorKind::refused, fmt::format("the group {} is exported or read-only", options.group));
  if (machine::find_volume(picture, options.group, options.volume) != nullptr)
    throw Error(ErrorKind::refused,
                fmt::format("there is a volume {}/{} already", options.group, options.volume),
                "choose another name with --lv");
}

void require_mount_point(const Picture& picture, const std::string& point) {
  if (!point.starts_with('/') || point == "/" || point.find("/../") != std::string::npos)
    throw Error(ErrorKind::usage, fmt::format("the mount point {} is not usable", point),
                "give an absolute path such as /backups");
  for (const machine::Mount& mount : picture.mounts)
    if (mount.target == point)
      throw Error(ErrorKind::refused, fmt::format("{} is mounted at {} already", mount.source, point),
                  "choose another mount point with --mount");
}

DiskNode node_of(const Device& device) { return {device.path, device.major, device.minor, device.size}; }

// All that tells one device from another that took its name.
std::string look_of(const Device& device) {
  const machine::Content& c = device.content;
  std::string text =
      fmt::format("{} ({}:{}), {}", device.path, device.major, device.minor, format_size(device.size));
  for (const std::string* word : {&device.model, &device.serial, &device.part_uuid, &c.partition_table,
                                  &c.type, &c.label, &c.uuid, &device.detail})
    if (!word->empty()) text += ", " + *word;
  return text + fmt::format(", {} bytes from {} on", device.size, device.start);
}

std::uint64_t smallest(const std::string& filesystem) {
  // xfsprogs 5.19 and newer refuse less than 300 MiB.
  if (filesystem == "xfs") return 300 * kMiB;
  if (filesystem == "ext4" || filesystem == "ext3") return 16 * kMiB;
  throw Error(ErrorKind::usage, fmt::format("the filesystem {} is not one of ext4, ext3, xfs", filesystem));
}

}  // namespace

TargetPlan plan_target(const Picture& picture, const TargetOptions& options, const std::string& uuid,
                       bool unknown_data) {
  if (!picture.lvm_known)
    throw Error(ErrorKind::unsupported, "LVM cannot be looked at, so nothing is done",
                picture.warnings.empty() ? "" : lines(picture.warnings));
  const Device& disk = find_disk(picture, options.disk);
  DiskUse use = examine(picture, disk);
  if (unknown_data && use.holds.empty())
    use.holds.push_back("data that nothing is known of (its first or last MiB is not zero)");
  require_may_be_used(picture, disk, options, use);
  require_names_are_free(picture, options);
  require_mount_point(picture, options.mount_point);

  TargetPlan plan;
  plan.disk = disk.path;
  plan.node = node_of(disk);
  for (const Device* device : machine::all_above(picture, disk)) plan.looks.push_back(look_of(*device));
  plan.partition = partition_path(disk.path, 1);
  plan.group = options.group;
  plan.volume = options.volume;
  plan.device = "/dev/" + plan.full_name();
  plan.extends_group = options.extend_group;
  plan.filesystem = options.filesystem;
  plan.uuid = uuid;
  plan.mount_point = options.mount_point;
  plan.place = plan_partition(disk, options.table);
  plan.size = options.size;
  plan.now = use.holds;
  if (!use.holds.empty()) {
    for (const Device* device : machine::all_above(picture, disk))
      if (device->kind == machine::DeviceKind::partition) plan.old_nodes.push_back(node_of(*device));
    plan.warnings.push_back(fmt::format("everything on {} will be lost", disk.path));
  }
  const std::uint64_t room =
      plan.size.value_or(plan.place.length - std::min<std::uint64_t>(plan.place.length, 8 * kMiB));
  if (room > plan.place.length || room < smallest(options.filesystem))
    throw Error(ErrorKind::no_space,
                fmt::format("a volume of {} with {} does not fit: {} has {}, and {} is the least",
                            format_size(room), options.filesystem, disk.path, format_size(plan.place.length),
                            format_size(smallest(options.filesystem))));
  for (const std::string& note : plan.place.notes) plan.warnings.push_back(note);
  if (plan.extends_group)
    plan.warnings.push_back(fmt::format(
        "the group {} will depend on {}{}: without that disk it is partial, and lvm2 changes nothing in it "
        "any more",
        plan.group, disk.path, disk.removable || disk.transport == "usb" ? ", which can be unplugged" : ""));
  plan.fstab = {"UUID=" + uuid,
                options.mount_point,
                options.filesystem,
                fmt::format("defaults,nofail,x-systemd.device-timeout={}s,{}={}", options.device_timeout,
                            kFstabMark, plan.full_name()),
                0,
                options.filesystem == "xfs" ? 0 : 2};
  return plan;
}

void require_unchanged(const TargetPlan& shown, const TargetPlan& now) {
  if (shown.looks == now.looks && shown.now == now.now) return;
  const auto words = [](const TargetPlan& plan) {
    return lines(plan.looks) + (plan.now.empty() ? std::string() : fmt::format(" [{}]", lines(plan.now)));
  };
  throw Error(ErrorKind::refused,
              fmt::format("{} is not as it was shown any more: it was {}, and is {}", shown.disk,
                          words(shown), words(now)),
              "nothing was done; run again, and look at the new plan");
}

}  // namespace respaldo::provision
