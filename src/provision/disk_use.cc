#include "provision/disk_use.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/units.h"

namespace respaldo::provision {

namespace {

using machine::Device;
using machine::DeviceKind;
using machine::Picture;

std::string content_words(const Device& device) {
  const machine::Content& c = device.content;
  std::string words = c.ambivalent ? std::string("several signatures that contradict each other") : c.type;
  if (!c.label.empty()) words += fmt::format(" \"{}\"", c.label);
  return words;
}

// Groups whose PVs lie here, and whether they lie elsewhere, too.
void examine_group(const Picture& picture, const Device& part, const std::set<const Device*>& here,
                   DiskUse& use) {
  const engine::PvRow* pv = machine::pv_on(picture, part);
  if (pv == nullptr || pv->vg.empty()) return;
  const bool elsewhere = std::any_of(picture.pvs.begin(), picture.pvs.end(), [&](const engine::PvRow& other) {
    if (other.vg_uuid != pv->vg_uuid) return false;
    const Device* device = other.missing ? nullptr : machine::resolve(picture, other.name);
    return device == nullptr || !here.contains(device);
  });
  std::string volumes;
  for (const engine::LvRow& lv : picture.lvs)
    if (lv.vg_uuid == pv->vg_uuid && !lv.hidden) volumes += (volumes.empty() ? "" : ", ") + lv.name;
  const std::string group =
      fmt::format("the volume group {}{}", pv->vg, volumes.empty() ? "" : fmt::format(" with {}", volumes));
  use.holds.push_back(fmt::format("{}: {}", part.path, group));
  if (elsewhere)
    use.in_use.push_back(fmt::format(
        "{} belongs to the volume group {}, which has other disks, too (`vgreduce {} {}` takes it out)",
        part.path, pv->vg, pv->vg, part.path));
}

}  // namespace

DiskUse examine(const Picture& picture, const Device& disk) {
  DiskUse use;
  const auto above = machine::all_above(picture, disk);
  const std::set<const Device*> here(above.begin(), above.end());
  if (!disk.content.partition_table.empty())
    use.holds.push_back(fmt::format("a partition table ({})", disk.content.partition_table));
  for (const Device* device : above) {
    if (device != &disk && device->kind != DeviceKind::partition) {
      use.in_use.push_back(
          fmt::format("{} ({}) is active on it", device->shown_path(), to_string(device->kind)));
    } else if (!device->content.unreadable.empty()) {
      use.in_use.push_back(
          fmt::format("{} cannot be looked at ({})", device->path, device->content.unreadable));
    } else {
      const std::string content = content_words(*device);
      if (device->kind == DeviceKind::partition || !content.empty())
        use.holds.push_back(fmt::format("{}: {}, {}", device->path,
                                        content.empty() ? "nothing known" : content,
                                        format_size(device->size)));
      examine_group(picture, *device, here, use);
    }
    for (const machine::Mount* mount : machine::mounts_of(picture, *device))
      use.in_use.push_back(fmt::format("{} is mounted at {}", device->shown_path(), mount->target));
    if (machine::swap_on(picture, *device) != nullptr)
      use.in_use.push_back(fmt::format("{} is used as swap", device->shown_path()));
  }
  return use;
}

const Device& find_disk(const Picture& picture, const std::string& named) {
  const Device* device = machine::resolve(picture, named);
  if (device == nullptr) {
    std::string disks;
    for (const Device& one : picture.devices)
      if (one.kind == DeviceKind::disk)
        disks += fmt::format("{}{} ({})", disks.empty() ? "" : ", ", one.path, format_size(one.size));
    throw Error(ErrorKind::not_found, fmt::format("there is no disk {}", named),
                disks.empty() ? "`respaldo layout` shows what there is" : "there are: " + disks);
  }
  switch (device->kind) {
    case DeviceKind::disk:
    case DeviceKind::loop:
    case DeviceKind::md:
      return *device;
    case DeviceKind::partition:
      throw Error(ErrorKind::usage,
                  fmt::format("{} is a partition of {}", device->path,
                              device->parents.empty() ? "" : "/dev/" + device->parents.front()),
                  "a target takes a whole disk");
    default:
      throw Error(ErrorKind::usage, fmt::format("{} is no disk ({})", named, to_string(device->kind)),
                  "a target takes a whole disk");
  }
}

}  // namespace respaldo::provision
