#include "machine/system.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>

#include "engine/kernel/tools/lvm_command.h"
#include "machine/sysfs.h"
#include "machine/tables.h"

namespace respaldo::machine {

namespace {

// Layers inside a volume ("-real", "-cow", "_tdata"...) belong to it: their bytes are not looked at. A
// suspended device would hold whoever reads it.
bool worth_reading(const Device& device) {
  const bool layer = device.kind == DeviceKind::lvm && device.dm_uuid.size() != 4 + 64;
  return !layer && !device.suspended && device.kind != DeviceKind::rom;
}

void add_contents(Picture& picture, const Places& places, std::stop_token stop) {
  for (Device& device : picture.devices) {
    if (stop.stop_requested()) throw Cancelled();
    if (!worth_reading(device)) {
      if (device.suspended) device.content.unreadable = "suspended";
      continue;
    }
    DiskContent found = places.probe(device.path);
    // An extended partition says that it has a table; its logical partitions are the disk's.
    if (device.kind == DeviceKind::partition && found.content.type.empty())
      found.content.partition_table.clear();
    device.content = std::move(found.content);
    for (Device& other : picture.devices) {
      if (other.kind != DeviceKind::partition || other.parents != std::vector{device.name}) continue;
      for (const PartitionFacts& facts : found.partitions)
        if (facts.number == other.number) {
          other.part_type = facts.type;
          other.part_type_name = facts.type_name;
          other.part_name = facts.name;
          other.part_uuid = facts.uuid;
        }
    }
  }
  std::vector<std::string> unread;
  for (const Device& device : picture.devices)
    if (!device.content.unreadable.empty() && !device.suspended)
      unread.push_back(device.path + ": " + device.content.unreadable);
  if (unread.empty()) return;
  std::string text = unread.front();
  if (unread.size() > 1) text += fmt::format(", and {} more", unread.size() - 1);
  picture.warnings.push_back(fmt::format("some devices could not be read ({})", text));
}

void add_free_space(Picture& picture) {
  for (Mount& mount : picture.mounts) {
    // Only what lies on a device: asking a dead file server would never return.
    if (device_of(picture, mount) == nullptr) continue;
    struct statvfs figures {};
    if (::statvfs(mount.target.c_str(), &figures) != 0) continue;
    mount.size = std::uint64_t{figures.f_blocks} * figures.f_frsize;
    mount.free = std::uint64_t{figures.f_bfree} * figures.f_frsize;
    mount.available = std::uint64_t{figures.f_bavail} * figures.f_frsize;
  }
}

void add_lvm(Picture& picture, os::CommandRunner& commands, std::stop_token stop) {
  try {
    const engine::LvmCommand lvm(commands);
    auto pvs = lvm.pvs({}, stop);
    auto vgs = lvm.vgs({}, stop);
    auto lvs = lvm.lvs({}, stop);
    picture.pvs = std::move(pvs.rows);
    picture.vgs = std::move(vgs.rows);
    picture.lvs = std::move(lvs.rows);
    picture.lvm_known = true;
    for (const auto* warnings : {&pvs.warnings, &vgs.warnings, &lvs.warnings})
      for (const std::string& warning : *warnings)
        if (std::find(picture.warnings.begin(), picture.warnings.end(), warning) == picture.warnings.end())
          picture.warnings.push_back(warning);
  } catch (const Error& error) {
    picture.warnings.push_back(fmt::format("LVM could not be looked at: {}{}", error.what(),
                                           error.hint().empty() ? "" : " (" + error.hint() + ")"));
  }
}

}  // namespace

Picture read_picture(const Places& places, os::CommandRunner& commands, std::stop_token stop) {
  Picture picture;
  picture.devices = read_block_devices(places.sys, places.udev);
  picture.mounts = read_mounts(places.mountinfo);
  picture.swaps = read_swaps(places.swaps);
  picture.fstab_path = places.fstab.native();
  try {
    FstabTable table = read_fstab(places.fstab);
    picture.fstab = std::move(table.entries);
    for (const unsigned line : table.bad_lines)
      picture.warnings.push_back(fmt::format("{}: line {} is no fstab entry", picture.fstab_path, line));
  } catch (const Error& error) {
    picture.warnings.push_back(error.what());
  }
  add_lvm(picture, commands, stop);
  add_contents(picture, places, stop);
  if (places.ask_free_space) add_free_space(picture);
  return picture;
}

std::string real_path(const os::Path& path) {
  std::error_code error;
  const os::Path real = std::filesystem::weakly_canonical(path, error);
  std::string text = (error ? std::filesystem::absolute(path) : real).native();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

}  // namespace respaldo::machine
