// vgcreate, vgextend, vgreduce, vgremove, vgcfgbackup, vgcfgrestore, vgck.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "engine/image/lvm_ops.h"
#include "engine/image/vg_edit.h"

namespace respaldo::engine {

namespace {

// Adds a PV that lies on an image to the group.
void add_pv(lvm::VolumeGroup& vg, const FoundPv& found) {
  lvm::PhysicalVolume pv;
  pv.key = free_pv_key(vg);
  pv.id = found.label.id;
  pv.device_hint = found.name;
  pv.status = {"ALLOCATABLE"};
  pv.dev_size_sectors = found.label.device_size / kSector;
  pv.pe_start_sectors = found.label.data_offset / kSector;
  std::uint64_t end = found.label.device_size;
  for (const Extent& area : found.label.metadata_areas)
    if (area.offset > found.label.data_offset) end = std::min(end, area.offset);
  pv.pe_count = (end - found.label.data_offset) / vg.extent_bytes();
  if (found.label.bootloader_area) {
    pv.ba_start_sectors = found.label.bootloader_area->offset / kSector;
    pv.ba_size_sectors = found.label.bootloader_area->length / kSector;
  }
  if (pv.pe_count == 0)
    throw Error(ErrorKind::refused, fmt::format("PV {} is too small for extents of {}", printable(found.name),
                                                format_size(vg.extent_bytes())));
  if (vg.max_pv != 0 && vg.pvs.size() >= vg.max_pv)
    throw Error(ErrorKind::refused,
                fmt::format("No space for '{}' - volume group '{}' holds max {} physical volume(s).",
                            printable(found.name), printable(vg.name), vg.max_pv));
  vg.pvs.push_back(std::move(pv));
}

void require_resizeable(const lvm::VolumeGroup& vg) {
  if (std::find(vg.status.begin(), vg.status.end(), "RESIZEABLE") == vg.status.end())
    throw Error(ErrorKind::refused, fmt::format("Volume group {} is not resizeable.", printable(vg.name)));
}

// Initialises what is not a PV yet, and adds all to the group. Names are looked up again: pvcreate scans
// anew.
void add_all(OpContext& context, lvm::VolumeGroup& vg, const std::vector<std::string>& names,
             const PvFormat& format) {
  std::vector<std::string> bare;
  for (const std::string& name : names) {
    const auto target = find_pv_target(context.disks, name);
    if (!target)
      throw Error(ErrorKind::not_found, fmt::format("No device found for {}.", printable(name)),
                  "name a disk image that is given with --disk, or a partition of one as IMAGE:NUMBER");
    if (!target->found) {
      bare.push_back(name);
      continue;
    }
    const FoundPv& pv = context.disks.pvs()[*target->found];
    if (!pv.vg.empty())
      throw Error(ErrorKind::refused,
                  fmt::format("Physical volume '{}' is already in volume group '{}'\nUnable to add physical "
                              "volume '{}' to volume group '{}'\n{}: physical volume not initialized.",
                              printable(name), printable(pv.vg), printable(name), printable(vg.name),
                              printable(name)));
  }
  require_resizeable(vg);
  if (!bare.empty()) {
    if (context.test) throw Error(ErrorKind::refused, "--test cannot go on without the new PVs");
    create_pvs(context, bare, format);
  }
  for (const std::string& name : names) {
    const FoundPv& pv = context.disks.pvs()[*find_pv_target(context.disks, name)->found];
    if (vg.find_pv(pv.label.id) != nullptr)
      throw Error(ErrorKind::usage, fmt::format("{} is given twice", printable(name)));
    add_pv(vg, pv);
  }
}

}  // namespace

void create_group(OpContext& context, const std::string& name, const std::vector<std::string>& pvs,
                  const GroupOptions& options) {
  require_valid_vg_name(name, ErrorKind::usage);
  for (const DiskSet::Group& group : context.disks.groups())
    if (group.vg.name == name)
      throw Error(ErrorKind::refused,
                  fmt::format("A volume group called {} already exists.", printable(name)));
  constexpr std::uint64_t kOddUnit = 128 * kKiB;
  if (options.extent_bytes < kKiB)
    throw Error(ErrorKind::refused, "Physical extent size must be at least 1 KiB.");
  if (!std::has_single_bit(options.extent_bytes) && options.extent_bytes % kOddUnit != 0)
    throw Error(ErrorKind::refused,
                fmt::format("Physical Extent size must be a multiple of {} when not a power of 2.",
                            display_size(kOddUnit)));
  lvm::VolumeGroup vg;
  vg.name = name;
  vg.id = lvm::Uuid::random();
  vg.status = {"RESIZEABLE", "READ", "WRITE"};
  vg.tags = options.tags;
  vg.extent_sectors = options.extent_bytes / kSector;
  vg.max_lv = options.max_lv;
  vg.max_pv = options.max_pv;
  vg.metadata_copies = options.metadata_copies;
  vg.allocation_policy = options.allocation_policy;
  add_all(context, vg, pvs, options.pv_format);
  commit(context, name, std::move(vg));
  context.print(fmt::format("  Volume group \"{}\" successfully created", printable(name)));
}

void extend_group(OpContext& context, const std::string& name, const std::vector<std::string>& pvs,
                  const PvFormat& format, bool restore_missing) {
  const DiskSet::Group& group = require_group(context.disks, name);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name;
  if (restore_missing) {
    for (const std::string& pv_name : pvs) {
      const auto target = find_pv_target(context.disks, pv_name);
      lvm::PhysicalVolume* found = nullptr;
      if (target && target->found)
        for (lvm::PhysicalVolume& pv : next.pvs)
          if (pv.id == context.disks.pvs()[*target->found].label.id) found = &pv;
      if (found == nullptr || !found->missing_flag())
        throw Error(ErrorKind::refused, fmt::format("WARNING: PV {} was not missing in VG {}",
                                                    printable(pv_name), printable(vg_name)));
      for (auto* words : {&found->status, &found->flags}) std::erase(*words, "MISSING");
    }
  } else {
    require_changeable(group);
    add_all(context, next, pvs, format);
  }
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Volume group \"{}\" successfully extended", printable(vg_name)));
}

void reduce_group(OpContext& context, const std::string& name, const std::vector<std::string>& pvs) {
  for (const std::string& pv_name : pvs) {
    const DiskSet::Group& group = require_group(context.disks, name);
    require_changeable(group);
    require_resizeable(group.vg);
    const auto target = find_pv_target(context.disks, pv_name);
    const lvm::PhysicalVolume* pv =
        target && target->found ? group.vg.find_pv(context.disks.pvs()[*target->found].label.id) : nullptr;
    if (pv == nullptr)
      throw Error(ErrorKind::not_found,
                  fmt::format("Failed to find physical volume \"{}\".", printable(pv_name)),
                  fmt::format("it is not in volume group {}", printable(group.vg.name)));
    if (used_extents(group.vg, *pv) > 0)
      throw Error(ErrorKind::refused, fmt::format("Physical volume \"{}\" still in use", printable(pv_name)),
                  "move its extents away first (pvmove)");
    if (group.vg.pvs.size() == 1)
      throw Error(ErrorKind::refused,
                  fmt::format("Can't remove final physical volume \"{}\" from volume group \"{}\"",
                              printable(pv_name), printable(group.vg.name)));
    lvm::VolumeGroup next = group.vg;
    const std::string vg_name = next.name, key = pv->key;
    std::erase_if(next.pvs, [&](const lvm::PhysicalVolume& p) { return p.key == key; });
    commit(context, vg_name, std::move(next));
    context.print(
        fmt::format("  Removed \"{}\" from volume group \"{}\"", printable(pv_name), printable(vg_name)));
  }
}

void reduce_group_by_unused(OpContext& context, const std::string& name) {
  const DiskSet::Group& group = require_group(context.disks, name);
  std::vector<std::string> unused;
  for (const lvm::PhysicalVolume& pv : group.vg.pvs)
    if (used_extents(group.vg, pv) == 0)
      if (const auto at = group.pvs.find(pv.id.plain()); at != group.pvs.end())
        unused.push_back(context.disks.pvs()[at->second].name);
  reduce_group(context, name, unused);
}

void remove_missing_pvs(OpContext& context, const std::string& name) {
  const DiskSet::Group& group = require_group(context.disks, name);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name;
  std::vector<std::string> gone, lost_lvs;
  for (const lvm::PhysicalVolume& pv : group.vg.pvs) {
    if (group.pvs.contains(pv.id.plain()) && !pv.missing_flag()) continue;
    gone.push_back(pv.key);
    for (const PvSegment& segment : pv_segments(group.vg, pv))
      if (segment.lv != nullptr &&
          std::find(lost_lvs.begin(), lost_lvs.end(), segment.lv->name) == lost_lvs.end())
        lost_lvs.push_back(segment.lv->name);
  }
  if (gone.empty()) {
    context.print(fmt::format("  Volume group \"{}\" is already consistent.", printable(vg_name)));
    return;
  }
  if (!lost_lvs.empty() && context.force == 0) {
    for (const std::string& lv : lost_lvs)
      context.warn(fmt::format("  WARNING: Partial LV {} needs to be repaired or removed.", printable(lv)));
    throw Error(ErrorKind::refused, fmt::format("There are still partial LVs in VG {}.", printable(vg_name)),
                "To remove them unconditionally use: vgreduce --removemissing --force.");
  }
  for (const std::string& lv : lost_lvs) {
    if (next.find_lv(lv) == nullptr) continue;  // went with another one
    if (!is_plain(next, *next.find_lv(lv)))
      throw Error(ErrorKind::unsupported,
                  fmt::format("LV {} lost a leg; repair it with lvm2 (lvconvert --repair)", printable(lv)));
    for (const std::string& one : removal_order(next, lv)) remove_lv(next, one);
    context.print(fmt::format("  Logical volume \"{}\" removed.", printable(lv)));
  }
  std::erase_if(next.pvs, [&](const lvm::PhysicalVolume& pv) {
    return std::find(gone.begin(), gone.end(), pv.key) != gone.end();
  });
  if (next.pvs.empty())
    throw Error(ErrorKind::refused, fmt::format("volume group {} would have no PV left", printable(vg_name)));
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Wrote out consistent volume group {}.", printable(vg_name)));
}

void remove_group(OpContext& context, const std::string& name) {
  const DiskSet::Group& group = require_group(context.disks, name);
  const std::string vg_name = group.vg.name;
  std::vector<std::string> removed;
  const auto visible = std::count_if(group.vg.lvs.begin(), group.vg.lvs.end(),
                                     [](const lvm::LogicalVolume& lv) { return lv.visible(); });
  if (context.active && context.is_open)
    for (const lvm::LogicalVolume& lv : group.vg.lvs)
      if (context.is_open({vg_name, lv.name}))
        throw Error(ErrorKind::busy,
                    fmt::format("Logical volume {}/{} in use.", printable(vg_name), printable(lv.name)));
  if (visible > 0 && context.force == 0 &&
      !context.confirm(fmt::format(
          "Do you really want to remove volume group \"{}\" containing {} logical volumes? [y/n]: ",
          printable(vg_name), visible)))
    throw Error(ErrorKind::refused, fmt::format("Volume group \"{}\" not removed", printable(vg_name)));
  for (const lvm::LogicalVolume& lv : group.vg.lvs)
    if (lv.visible() && !is_snapshot_pseudo(lv))
      for (const auto& one : removal_order(group.vg, lv.name)) removed.push_back(one);
  // One step for all: the group is there, or it is not.
  if (!context.test) context.disks.remove_group(vg_name);
  for (const std::string& lv : removed)
    context.print(fmt::format("  Logical volume \"{}\" successfully removed.", printable(lv)));
  context.print(fmt::format("  Volume group \"{}\" successfully removed", printable(vg_name)));
}

std::string backup_text(const OpContext& context, const DiskSet::Group& group) {
  return group.vg.text(lvm::TextStyle::file, "Created *after* executing '" + context.command + "'",
                       context.now());
}

void restore_group(OpContext& context, const std::string& name, std::string_view text) {
  lvm::VolumeGroup next = lvm::VolumeGroup::parse(text);
  if (next.name != name)
    throw Error(ErrorKind::usage, fmt::format("The file is of volume group {}, not of {}",
                                              printable(next.name), printable(name)));
  for (lvm::PhysicalVolume& pv : next.pvs) {
    const auto& all = context.disks.pvs();
    const auto at =
        std::find_if(all.begin(), all.end(), [&](const FoundPv& found) { return found.label.id == pv.id; });
    if (at == all.end())
      throw Error(ErrorKind::missing, fmt::format("Couldn't find device with uuid {}.", pv.id.dashed()),
                  "make it with pvcreate --uuid UUID --restorefile FILE IMAGE");
    pv.device_hint = at->name;
  }
  if (!context.test)
    context.disks.commit(name, std::move(next), "Write from " + context.command + ".", DiskSet::Contradiction::settle);
  context.print(fmt::format("  Restored volume group {}.", printable(name)));
}

void check_group(OpContext& context, const std::string& name, bool update) {
  const DiskSet::Group& group = require_group(context.disks, name);
  bool bad = group.inconsistent || !group.duplicate_pvs.empty();
  for (const lvm::PhysicalVolume& pv : group.vg.pvs) {
    const auto at = group.pvs.find(pv.id.plain());
    if (at == group.pvs.end()) {
      bad = true;
      continue;
    }
    for (const lvm::MetadataAreaState& area : context.disks.pvs()[at->second].areas)
      bad = bad || !area.problem.empty();
  }
  if (update) {
    commit(context, group.vg.name, group.vg);
    return;
  }
  if (bad)
    throw Error(ErrorKind::corrupt, fmt::format("The volume group \"{}\" has problems.", printable(name)),
                group.inconsistent ? write_refusal(group)->hint()
                                   : "see the warnings; vgck --updatemetadata writes all copies anew");
}

}  // namespace respaldo::engine
