// Thick snapshots: lvcreate -s, and what lvconvert does to them.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/printable.h"
#include "dm/cow_store.h"
#include "engine/image/lvm_ops_impl.h"

namespace respaldo::engine {

namespace {

constexpr std::uint64_t kLeastChunks = 4;

void require_chunk(std::uint64_t bytes) {
  if (!std::has_single_bit(bytes) || bytes < 4 * kKiB || bytes > 512 * kKiB)
    throw Error(ErrorKind::usage, "Chunk size must be a power of 2 in the range 4K to 512K.");
}

// What lies on a lost PV could be neither saved to a store, nor kept in one.
void require_all_there(const DiskSet::Group& group, const lvm::LogicalVolume& lv) {
  for (const lvm::Segment& segment : lv.segments)
    if (const auto* striped = std::get_if<lvm::StripedSegment>(&segment.body))
      for (const lvm::SegmentArea& area : striped->areas) {
        const lvm::PhysicalVolume* pv = group.vg.find_pv(area.name);
        if (pv != nullptr && (pv->missing_flag() || !group.pvs.contains(pv->id.plain())))
          throw Error(ErrorKind::missing,
                      fmt::format("{} lies on PV {}, which is missing.", full_name(group.vg.name, lv.name),
                                  pv->id.dashed()),
                      "bring it back with vgextend --restoremissing, or remove the volume");
      }
}

}  // namespace

void create_snapshot(OpContext& context, const SnapshotRequest& given) {
  SnapshotRequest request = given;
  require_chunk(request.chunk_bytes);
  const DiskSet::Group& group = require_group(context.disks, request.store.vg);
  require_changeable(group);
  if (group.vg.find_lv(request.origin) == nullptr)
    throw Error(ErrorKind::not_found, fmt::format("Snapshot origin LV {} not found in Volume group {}.",
                                                  printable(request.origin), printable(group.vg.name)));
  const lvm::LogicalVolume& origin = require_user_lv(group, request.origin);
  if (group.vg.snapshot_binding(origin))
    throw Error(ErrorKind::unsupported, "Snapshots of snapshots are not supported.");
  if (!is_plain(group.vg, origin))
    throw Error(ErrorKind::unsupported,
                fmt::format("{} is of type {}: thick snapshots of it are made by lvm2 alone",
                            full_name(group.vg.name, origin.name), origin.segments.front().type));
  require_all_there(group, origin);
  for (const auto& binding : group.vg.snapshots_of(origin))
    if (binding.merging)
      throw Error(ErrorKind::refused,
                  fmt::format("Snapshots of an origin that has a merging snapshot is not supported."));
  const std::uint64_t most = cow_maximum_extents(group.vg, origin.extents(), request.chunk_bytes);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name;
  if (request.store.name.empty())
    request.store.name = free_lv_name(next, "lvol");
  else
    require_valid_lv_name(next, request.store.name);
  require_new_lv_name(next, request.store.name);
  std::vector<lvm::Segment> segments = find_space(context, group, request.store, most);
  std::uint64_t extents = 0;
  for (const lvm::Segment& segment : segments) extents += segment.count;
  if (extents > most)
    context.print(fmt::format("  COW size {} is more than this snapshot can ever use: {} would do.",
                              display_size(extents * next.extent_bytes()),
                              display_size(most * next.extent_bytes())));
  if (extents * next.extent_bytes() < kLeastChunks * request.chunk_bytes)
    throw Error(ErrorKind::refused, "Unable to create a snapshot smaller than 4 chunks.");
  add_new_lv(context, next, request.store, std::move(segments));
  wipe_new(context, group, next, request.store.name, true, true);
  pair_snapshot(next, request.origin, request.store.name, request.chunk_bytes / kSector, context.now(),
                context.host);
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Logical volume \"{}\" created.", printable(request.store.name)));
}

void pair_existing(OpContext& context, const VolumeName& origin, const std::string& store,
                   std::uint64_t chunk_bytes, bool zero) {
  require_chunk(chunk_bytes);
  const DiskSet::Group& group = require_group(context.disks, origin.vg);
  require_changeable(group);
  const lvm::LogicalVolume& origin_lv = require_user_lv(group, origin.lv);
  const lvm::LogicalVolume& store_lv = require_user_lv(group, store);
  require_closed(context, origin.vg, store);
  if (group.vg.snapshot_binding(origin_lv) || group.vg.snapshot_binding(store_lv) ||
      !group.vg.snapshots_of(store_lv).empty() || origin.lv == store)
    throw Error(
        ErrorKind::refused,
        "Unable to convert an LV into a snapshot of itself, of a snapshot, or with snapshots of its own.");
  if (!is_plain(group.vg, origin_lv) || !is_plain(group.vg, store_lv))
    throw Error(ErrorKind::unsupported, "Only linear and striped volumes can be paired here.");
  require_all_there(group, origin_lv);
  require_all_there(group, store_lv);
  if (zero && context.force == 0) {
    context.warn(fmt::format("  WARNING: Converting logical volume {} to snapshot exception store.",
                             full_name(origin.vg, store)));
    if (!context.confirm(fmt::format("THIS WILL DESTROY CONTENT OF LOGICAL VOLUME (filesystem etc.)\nDo you "
                                     "really want to convert {}? [y/n]: ",
                                     full_name(origin.vg, store))))
      throw Error(ErrorKind::refused, "Conversion aborted.");
  }
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name;
  pair_snapshot(next, origin.lv, store, chunk_bytes / kSector, context.now(), context.host);
  if (zero && !context.test) {
    // The old contents would be read as exceptions by whoever sees the pairing first.
    const auto device = context.disks.open_layer_writable(group, store_lv, "real");
    device->write_at(0, Bytes::zeroed(std::min<std::uint64_t>(device->size(), kWipedHead)));
    device->flush();
  }
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Logical volume {} converted to snapshot.", full_name(vg_name, store)));
}

void split_snapshot(OpContext& context, const VolumeName& snapshot) {
  const DiskSet::Group& group = require_group(context.disks, snapshot.vg);
  require_changeable(group);
  const lvm::LogicalVolume& lv = require_lv(group, snapshot.lv);
  if (!group.vg.snapshot_binding(lv))
    throw Error(ErrorKind::usage, fmt::format("{} is not a snapshot.", full_name(snapshot.vg, snapshot.lv)));
  require_closed(context, snapshot.vg, snapshot.lv);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name;
  split_snapshot(next, snapshot.lv);
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Logical Volume {} split from its origin.", full_name(vg_name, snapshot.lv)));
}

void merge_snapshot(OpContext& context, const VolumeName& snapshot) {
  const DiskSet::Group* group = &require_group(context.disks, snapshot.vg);
  require_changeable(*group);
  const std::string vg_name = group->vg.name;
  const auto found = group->vg.snapshot_binding(require_lv(*group, snapshot.lv));
  if (!found)
    throw Error(ErrorKind::usage,
                fmt::format("{} is not a mergeable logical volume.", full_name(vg_name, snapshot.lv)));
  const std::string origin = found->origin->name;
  require_closed(context, vg_name, snapshot.lv);
  require_closed(context, vg_name, origin);
  const auto siblings = group->vg.snapshots_of(*found->origin);
  for (const auto& other : siblings)
    if (other.merging && other.cow->name != snapshot.lv)
      throw Error(ErrorKind::refused, fmt::format("Snapshot {} is merging into {} already.",
                                                  printable(other.cow->name), printable(origin)));
  if (context.active && siblings.size() > 1)
    throw Error(ErrorKind::busy,
                fmt::format("{} has other snapshots: merging while the volumes are served is not possible",
                            printable(origin)),
                "end the activation, then merge");
  // A dead snapshot must not mark the origin.
  const auto store = dm::CowStore::load(*context.disks.open_layer(*group, *found->cow, "cow"),
                                        found->chunk_sectors * kSector);
  if (!store.status().valid)
    throw Error(ErrorKind::overflow,
                fmt::format("Unable to merge invalidated snapshot LV {}.", full_name(vg_name, snapshot.lv)),
                "remove it with lvremove");
  if (context.test) return;
  if (!found->merging) {
    lvm::VolumeGroup next = group->vg;
    mark_merging(next, snapshot.lv);
    commit(context, vg_name, std::move(next));
  }
  context.print(fmt::format("  Merging of volume {} started.", full_name(vg_name, snapshot.lv)));
  group = &context.disks.group(vg_name);
  {
    const lvm::LogicalVolume& origin_lv = require_lv(*group, origin);
    // What the merge overwrites, the other snapshots of the origin still show.
    dm::SnapshotSet others(context.disks.open_layer_writable(*group, origin_lv, "real"));
    std::uint64_t chunk = 0;
    for (const auto& binding : group->vg.snapshots_of(origin_lv)) {
      if (binding.cow->name == snapshot.lv) {
        chunk = binding.chunk_sectors * kSector;
        continue;
      }
      others.add(binding.cow->name, context.disks.open_layer_writable(*group, *binding.cow, "cow"),
                 binding.virtual_extents * group->vg.extent_bytes(), binding.chunk_sectors * kSector);
    }
    const auto cow = context.disks.open_layer_writable(*group, *group->vg.find_lv(snapshot.lv), "cow");
    const auto target = others.origin_device();
    if (context.progress != nullptr)
      context.progress->begin("merging " + full_name(vg_name, snapshot.lv),
                              store.status().exceptions * store.status().chunk);
    dm::merge_snapshot(*target, *cow, chunk, [&](std::uint64_t bytes) {
      if (context.progress != nullptr) context.progress->advance(bytes);
      if (context.stop.stop_requested()) throw Cancelled();
    });
    if (context.progress != nullptr) context.progress->end();
    target->flush();
  }
  lvm::VolumeGroup next = group->vg;
  remove_lv(next, snapshot.lv);
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  {}: Merged: 100.00%", full_name(vg_name, origin)));
}

}  // namespace respaldo::engine
