// pvcreate and pvremove.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "block/layers.h"
#include "engine/image/lvm_ops.h"
#include "fs/probe/probe.h"

namespace respaldo::engine {

namespace {

constexpr std::uint64_t kDefaultAlignment = kMiB, kFirstArea = 4096, kLeastPv = 2 * kMiB;
constexpr std::uint64_t kWipedHead = 128 * kKiB, kWipedTail = 64 * kKiB;

std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

PvTarget require_target(const OpContext& context, const std::string& name) {
  auto target = find_pv_target(context.disks, name);
  if (!target)
    throw Error(ErrorKind::not_found, fmt::format("No device found for {}.", printable(name)),
                "name a disk image that is given with --disk, or a partition of one as IMAGE:NUMBER");
  return std::move(*target);
}

block::WritableDevicePtr writable(const OpContext& context, const PvTarget& target) {
  return block::slice(context.disks.writable_disk(target.disk), target.extent, target.name);
}

void wipe(block::WritableDevice& device) {
  const std::uint64_t size = device.size();
  const std::uint64_t head = std::min(size, kWipedHead), tail = std::min(size, kWipedTail);
  device.write_at(0, Bytes::zeroed(head));
  device.write_at(size - tail, Bytes::zeroed(tail));
}

}  // namespace

lvm::PvLabel plan_pv(std::uint64_t size, const PvFormat& format) {
  lvm::PvLabel label;
  label.id = format.uuid ? *format.uuid : lvm::Uuid::random();
  label.label_sector = format.label_sector;
  const std::uint64_t device = format.device_size ? *format.device_size : size;
  label.device_size = device / kSector * kSector;
  const std::uint64_t alignment = format.data_alignment != 0 ? format.data_alignment : kDefaultAlignment;
  if (alignment % kSector != 0)
    throw Error(ErrorKind::usage, "Data alignment must be a multiple of 512 bytes.");
  if (label.device_size < kLeastPv)
    throw Error(ErrorKind::refused, fmt::format("Device is too small: {}, a PV needs {} at least",
                                                format_size(label.device_size), format_size(kLeastPv)));
  std::uint64_t end_of_area = kFirstArea;
  if (format.metadata_copies >= 1)
    end_of_area = kFirstArea +
                  (format.metadata_size != 0 ? align_up(format.metadata_size, kSector) : kMiB - kFirstArea);
  if (format.bootloader_size != 0) {
    label.bootloader_area =
        Extent{align_up(end_of_area, alignment), align_up(format.bootloader_size, kSector)};
    label.data_offset = align_up(label.bootloader_area->end(), alignment);
  } else {
    label.data_offset = align_up(end_of_area, alignment);
  }
  const std::uint64_t first_use = label.bootloader_area ? label.bootloader_area->offset : label.data_offset;
  label.data_offset += format.data_alignment_offset;
  if (format.metadata_copies >= 1) label.metadata_areas.push_back({kFirstArea, first_use - kFirstArea});
  if (format.metadata_copies >= 2) {
    const std::uint64_t length = format.metadata_size != 0 ? align_up(format.metadata_size, kSector) : kMiB;
    const std::uint64_t start =
        label.device_size > length ? (label.device_size - length) / alignment * alignment : 0;
    if (start <= label.data_offset)
      throw Error(ErrorKind::refused, "There is no room for a second metadata area.");
    label.metadata_areas.push_back({start, label.device_size - start});
  }
  if (label.data_offset >= label.device_size)
    throw Error(ErrorKind::refused,
                fmt::format("Data would begin at byte {}, past the end of the device", label.data_offset));
  return label;
}

void create_pvs(OpContext& context, const std::vector<std::string>& names, const PvFormat& format) {
  std::vector<PvTarget> targets;
  for (const std::string& name : names) {
    PvTarget target = require_target(context, name);
    if (target.found) {
      const FoundPv& pv = context.disks.pvs()[*target.found];
      if (!pv.vg.empty() || (pv.label.in_use && context.force < 2)) {
        throw Error(
            ErrorKind::refused,
            pv.vg.empty()
                ? fmt::format("Can't initialize PV '{}' without -ff.\n{}: physical volume not initialized.",
                              printable(name), printable(name))
                : fmt::format(
                      "Can't initialize physical volume \"{}\" of volume group \"{}\" without -ff\n{}: "
                      "physical volume not initialized.",
                      printable(name), printable(pv.vg), printable(name)),
            pv.vg.empty() ? "the PV is marked as belonging to a VG but its metadata is missing."
                          : "take it out of its group first (vgreduce, vgremove)");
      }
    }
    for (const PvTarget& other : targets)
      if (other.disk == target.disk && other.partition == target.partition)
        throw Error(ErrorKind::usage, fmt::format("{} is given twice", printable(name)));
    targets.push_back(std::move(target));
  }
  // Everything is asked before anything is written.
  for (const PvTarget& target : targets) {
    if (target.found) continue;
    const auto seen =
        fs::probe(*block::slice(context.disks.disk_device(target.disk), target.extent, target.name));
    if (seen && context.force == 0 &&
        !context.confirm(fmt::format("WARNING: {} signature detected on {}. Wipe it? [y/n]: ", seen->type,
                                     printable(target.name))))
      throw Error(ErrorKind::refused, fmt::format("Aborted wiping of {}.", seen->type));
    if (seen) context.print(fmt::format("  Wiping {} signature on {}.", seen->type, printable(target.name)));
  }
  for (const PvTarget& target : targets) {
    const lvm::PvLabel label = plan_pv(target.extent.length, format);
    if (!context.test) {
      const auto device = writable(context, target);
      if (format.zero) wipe(*device);
      for (const Extent& area : label.metadata_areas) lvm::format_metadata_area(*device, area);
      device->flush();
      lvm::write_label(*device, label);
      device->flush();
    }
    context.print(fmt::format("  Physical volume \"{}\" successfully created.", printable(target.name)));
  }
  if (!context.test) context.disks.rescan();
}

void remove_pvs(OpContext& context, const std::vector<std::string>& names) {
  std::vector<PvTarget> targets;
  for (const std::string& name : names) {
    PvTarget target = require_target(context, name);
    if (!target.found)
      throw Error(ErrorKind::not_found, fmt::format("No PV found on device {}.", printable(name)));
    const FoundPv& pv = context.disks.pvs()[*target.found];
    if (!pv.vg.empty())
      throw Error(
          ErrorKind::refused,
          fmt::format("PV {} is used by VG {} so please use vgreduce first.\n{}: physical volume label "
                      "not removed.",
                      printable(name), printable(pv.vg), printable(name)));
    if (pv.label.in_use && context.force < 2)
      throw Error(ErrorKind::refused,
                  fmt::format("PV {} is used by a VG but its metadata is missing.", printable(name)),
                  "If you are certain you need pvremove, then confirm by using --force twice.");
    targets.push_back(std::move(target));
  }
  for (const PvTarget& target : targets) {
    if (!context.test) {
      const auto device = writable(context, target);
      const FoundPv& pv = context.disks.pvs()[*target.found];
      device->write_at(pv.label.label_sector * kSector, Bytes::zeroed(kSector));
      device->flush();
      for (const lvm::MetadataAreaState& area : pv.areas)
        if (area.header_valid) device->write_at(area.area.offset, Bytes::zeroed(kSector));
      device->flush();
    }
    context.print(
        fmt::format("  Labels on physical volume \"{}\" successfully wiped.", printable(target.name)));
  }
  if (!context.test) context.disks.rescan();
}

}  // namespace respaldo::engine
