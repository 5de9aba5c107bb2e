// lvcreate, lvextend, lvreduce, lvrename, lvremove, and the snapshots of lvcreate -s and lvconvert.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "dm/cow_store.h"
#include "engine/image/lvm_ops.h"
#include "engine/image/vg_edit.h"
#include "fs/probe/probe.h"

namespace respaldo::engine {

namespace {

constexpr std::uint64_t kDefaultStripe = 64 * kKiB, kWipedHead = 128 * kKiB, kWipedTail = 64 * kKiB;

std::string full_name(const std::string& vg, const std::string& lv) {
  return printable(vg) + "/" + printable(lv);
}

std::uint64_t total_extents(const lvm::VolumeGroup& vg) {
  std::uint64_t total = 0;
  for (const lvm::PhysicalVolume& pv : vg.pvs) total += pv.pe_count;
  return total;
}

std::uint64_t free_extents(const std::vector<PvSpace>& space) {
  std::uint64_t total = 0;
  for (const PvSpace& pv : space) total += pv.free.total();
  return total;
}

struct Wanted {
  std::uint64_t extents = 0;
  bool at_most = false;  // percents of free space: as much of it as the stripes allow
};

// What a size means here. `origin` and `now`: extents of the origin, and of the LV itself.
Wanted resolve_size(OpContext& context, const lvm::VolumeGroup& vg, const SizeSpec& size,
                    const std::vector<PvSpace>& space, std::uint64_t origin, std::uint64_t now) {
  const std::uint64_t extent = vg.extent_bytes();
  switch (size.base) {
    case SizeBase::bytes: {
      const std::uint64_t extents = size.value / extent + (size.value % extent != 0 ? 1 : 0);
      if (size.value % extent != 0)
        context.print(fmt::format("  Rounding {} to full physical extent {}",
                                  size.sign == SizeSign::none ? "up size" : "size",
                                  display_size(extents * extent)));
      return {extents};
    }
    case SizeBase::extents:
      return {size.value};
    case SizeBase::vg:
      return {percent_of(total_extents(vg), size.value, false), true};
    case SizeBase::free:
      return {percent_of(vg.free_extent_count(), size.value, false), true};
    case SizeBase::pvs:
      return {percent_of(free_extents(space), size.value, false), true};
    case SizeBase::origin:
      return {percent_of(origin, size.value, true)};
    case SizeBase::lv:
      return {percent_of(now, size.value, false)};
  }
  return {};
}

std::uint64_t stripe_sectors(const lvm::VolumeGroup& vg, unsigned stripes, std::uint64_t bytes) {
  if (stripes == 1) return 0;
  const std::uint64_t size = bytes != 0 ? bytes : kDefaultStripe;
  if (!std::has_single_bit(size) || size < 4 * kKiB)
    throw Error(ErrorKind::usage, "Stripe size must be a power of 2, and 4 KiB at least.");
  if (size > vg.extent_bytes())
    throw Error(ErrorKind::usage, fmt::format("Stripe size may not exceed the extent size of {}.",
                                              display_size(vg.extent_bytes())));
  return size / kSector;
}

std::vector<lvm::Segment> find_space(OpContext& context, const DiskSet::Group& group,
                                     const LvRequest& request, std::uint64_t origin_extents) {
  const lvm::VolumeGroup& vg = group.vg;
  const unsigned stripes = request.stripes == 0 ? 1 : request.stripes;
  if (request.type != "striped") {
    const Wanted wanted = resolve_size(context, vg, request.size, {}, origin_extents, 0);
    lvm::Segment segment;
    segment.count = wanted.extents;
    segment.type = request.type;
    if (request.type == "zero")
      segment.body = lvm::ZeroSegment{};
    else
      segment.body = lvm::ErrorSegment{};
    if (segment.count == 0) throw Error(ErrorKind::usage, "Please specify either size or extents.");
    return {segment};
  }
  AllocationRequest allocation;
  allocation.lv = request.name;
  allocation.space = pv_space(context, group, request.pvs);
  const Wanted wanted = resolve_size(context, vg, request.size, allocation.space, origin_extents, 0);
  allocation.extents = wanted.extents;
  allocation.stripes = stripes;
  allocation.stripe_sectors = stripe_sectors(vg, stripes, request.stripe_bytes);
  if (allocation.extents % stripes != 0) {
    const std::uint64_t rounded = wanted.at_most ? allocation.extents / stripes * stripes
                                                 : (allocation.extents / stripes + 1) * stripes;
    context.print(fmt::format("  Rounding size {} ({} extents) {} to stripe boundary size {} ({} extents).",
                              display_size(allocation.extents * vg.extent_bytes()), allocation.extents,
                              wanted.at_most ? "down" : "up", display_size(rounded * vg.extent_bytes()),
                              rounded));
    allocation.extents = rounded;
  }
  if (allocation.extents == 0)
    throw Error(ErrorKind::no_space,
                wanted.at_most
                    ? fmt::format("Calculated size of logical volume is 0 extents. Needs to be larger.")
                    : std::string("Unable to create a logical volume of no size."));
  if (request.policy)
    allocation.policy = *request.policy;
  else if (vg.allocation_policy)
    allocation.policy = parse_allocation_policy(*vg.allocation_policy).value_or(AllocationPolicy::normal);
  return wanted.at_most ? allocate_at_most(allocation) : allocate(allocation);
}

// The group as it will be, for writing to extents that nobody else has yet.
DiskSet::Group preview(const DiskSet::Group& group, const lvm::VolumeGroup& next) {
  DiskSet::Group copy = group;
  copy.vg = next;
  return copy;
}

void wipe_new(OpContext& context, const DiskSet::Group& group, const lvm::VolumeGroup& next,
              const std::string& name, bool zero, bool wipe) {
  const lvm::LogicalVolume& lv = *next.find_lv(name);
  if (context.test || (!zero && !wipe) ||
      !std::holds_alternative<lvm::StripedSegment>(lv.segments.front().body))
    return;
  const DiskSet::Group fresh = preview(group, next);
  const auto device = context.disks.open_layer_writable(fresh, lv, "real");
  if (wipe) {
    if (const auto seen = fs::probe(*device))
      context.print(fmt::format("  Wiping {} signature on {}.", seen->type, full_name(next.name, name)));
    const std::uint64_t tail = std::min(device->size(), kWipedTail);
    device->write_at(device->size() - tail, Bytes::zeroed(tail));
  }
  device->write_at(0, Bytes::zeroed(std::min(device->size(), wipe ? kWipedHead : 4 * kKiB)));
  device->flush();
}

NewLv new_lv(const OpContext& context, const LvRequest& request, std::vector<lvm::Segment> segments) {
  NewLv lv;
  lv.name = request.name;
  lv.segments = std::move(segments);
  lv.tags = request.tags;
  if (request.policy) lv.allocation_policy = std::string(to_string(*request.policy));
  lv.writable = request.writable;
  lv.now = context.now();
  lv.host = context.host;
  return lv;
}

const lvm::LogicalVolume& require_lv(const DiskSet::Group& group, const std::string& name) {
  const lvm::LogicalVolume* lv = group.vg.find_lv(name);
  if (lv == nullptr || is_snapshot_pseudo(*lv))
    throw Error(ErrorKind::not_found,
                fmt::format("Failed to find logical volume \"{}\"", full_name(group.vg.name, name)));
  return *lv;
}

void require_closed(const OpContext& context, const std::string& vg, const std::string& lv) {
  if (context.active && context.is_open && context.is_open({vg, lv}))
    throw Error(ErrorKind::busy, fmt::format("Logical volume {} in use.", full_name(vg, lv)),
                "close its file first");
}

void require_chunk(std::uint64_t bytes) {
  if (!std::has_single_bit(bytes) || bytes < 4 * kKiB || bytes > 512 * kKiB)
    throw Error(ErrorKind::usage, "Snapshot chunk size must be a power of 2 between 4 KiB and 512 KiB.");
}

}  // namespace

void create_lv(OpContext& context, const LvRequest& given) {
  LvRequest request = given;
  const DiskSet::Group& group = require_group(context.disks, request.vg);
  require_changeable(group);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name;
  if (request.name.empty()) request.name = free_lv_name(next, "lvol");
  require_new_lv_name(next, request.name);
  add_lv(next, new_lv(context, request, find_space(context, group, request, 0)));
  // The extents are nobody's until the commit: what is written to them now is safe at any moment.
  wipe_new(context, group, next, request.name, request.zero, request.wipe_signatures && request.zero);
  if (!request.zero)
    context.print(fmt::format("  WARNING: Logical volume {} not zeroed.", full_name(vg_name, request.name)));
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Logical volume \"{}\" created.", printable(request.name)));
}

void create_snapshot(OpContext& context, const SnapshotRequest& given) {
  SnapshotRequest request = given;
  require_chunk(request.chunk_bytes);
  const DiskSet::Group& group = require_group(context.disks, request.store.vg);
  require_changeable(group);
  const lvm::LogicalVolume& origin = require_lv(group, request.origin);
  if (group.vg.snapshot_binding(origin))
    throw Error(ErrorKind::unsupported, "Snapshots of snapshots are not supported.");
  if (!is_plain(group.vg, origin))
    throw Error(ErrorKind::unsupported,
                fmt::format("{} is of type {}: thick snapshots of it are made by lvm2 alone",
                            full_name(group.vg.name, origin.name), origin.segments.front().type));
  for (const auto& binding : group.vg.snapshots_of(origin))
    if (binding.merging)
      throw Error(ErrorKind::refused,
                  fmt::format("Snapshots of an origin that has a merging snapshot is not supported."));
  const std::uint64_t most = cow_maximum_extents(group.vg, origin.extents(), request.chunk_bytes);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name;
  if (request.store.name.empty()) request.store.name = free_lv_name(next, "lvol");
  require_new_lv_name(next, request.store.name);
  std::vector<lvm::Segment> segments = find_space(context, group, request.store, origin.extents());
  std::uint64_t extents = 0;
  for (const lvm::Segment& segment : segments) extents += segment.count;
  if (extents > most)
    context.print(fmt::format("  COW size {} is more than can ever be used; {} would do.",
                              display_size(extents * next.extent_bytes()),
                              display_size(most * next.extent_bytes())));
  if (extents * next.extent_bytes() < 4 * request.chunk_bytes)
    throw Error(ErrorKind::usage, "Snapshot is too small: it needs room for at least four chunks.");
  add_lv(next, new_lv(context, request.store, std::move(segments)));
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
  const lvm::LogicalVolume& origin_lv = require_lv(group, origin.lv);
  const lvm::LogicalVolume& store_lv = require_lv(group, store);
  require_closed(context, origin.vg, store);
  if (group.vg.snapshot_binding(origin_lv) || group.vg.snapshot_binding(store_lv) ||
      !group.vg.snapshots_of(store_lv).empty() || origin.lv == store)
    throw Error(
        ErrorKind::refused,
        "Unable to convert an LV into a snapshot of itself, of a snapshot, or with snapshots of its own.");
  if (!is_plain(group.vg, origin_lv) || !is_plain(group.vg, store_lv))
    throw Error(ErrorKind::unsupported, "Only linear and striped volumes can be paired here.");
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

void resize_lv(OpContext& context, const ResizeRequest& request) {
  const DiskSet::Group& group = require_group(context.disks, request.name.vg);
  require_changeable(group);
  const lvm::LogicalVolume& lv = require_lv(group, request.name.lv);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name, shown = full_name(next.name, lv.name);
  if (!is_plain(group.vg, lv))
    throw Error(ErrorKind::unsupported,
                fmt::format("{} is of type {}: lvm2 alone can resize it", shown, lv.segments.front().type));
  if (!group.vg.snapshots_of(lv).empty())
    throw Error(ErrorKind::refused, "Snapshot origin volumes cannot be resized here.",
                "remove its snapshots first");
  const std::uint64_t before = lv.extents(), extent = next.extent_bytes();
  const auto space = pv_space(context, group, request.pvs);
  const Wanted wanted = resolve_size(context, next, request.size, space, 0, before);
  std::uint64_t after = wanted.extents;
  if (request.size.sign == SizeSign::plus || request.size.base == SizeBase::free ||
      request.size.base == SizeBase::pvs)
    after = before + wanted.extents;
  else if (request.size.sign == SizeSign::minus)
    after = wanted.extents >= before ? 0 : before - wanted.extents;
  if (after == 0) throw Error(ErrorKind::usage, fmt::format("New size of {} would be 0.", shown));
  if (after == before)
    throw Error(ErrorKind::refused,
                fmt::format("New size ({} extents) matches existing size ({} extents).", after, before));
  if (after > before && !request.may_extend)
    throw Error(
        ErrorKind::usage,
        fmt::format("New size given ({} extents) larger than existing size ({} extents)", after, before));
  if (after < before && !request.may_reduce)
    throw Error(
        ErrorKind::usage,
        fmt::format("New size given ({} extents) not larger than existing size ({} extents)", after, before));
  lvm::LogicalVolume& target = *next.find_lv(lv.name);
  if (after > before) {
    AllocationRequest allocation;
    allocation.lv = lv.name;
    allocation.space = space;
    allocation.after = &lv.segments.back();
    allocation.start = before;
    const auto* last = std::get_if<lvm::StripedSegment>(&lv.segments.back().body);
    if (last == nullptr) throw Error(ErrorKind::unsupported, fmt::format("{} cannot be extended", shown));
    allocation.stripes = request.stripes ? *request.stripes : static_cast<unsigned>(last->areas.size());
    allocation.stripe_sectors = allocation.stripes == 1 ? 0
                                : request.stripe_bytes != 0 || last->stripe_sectors == 0
                                    ? stripe_sectors(next, allocation.stripes, request.stripe_bytes)
                                    : last->stripe_sectors;
    allocation.extents = (after - before + allocation.stripes - 1) / allocation.stripes * allocation.stripes;
    if (request.policy)
      allocation.policy = *request.policy;
    else if (lv.allocation_policy)
      allocation.policy = parse_allocation_policy(*lv.allocation_policy).value_or(AllocationPolicy::normal);
    append_segments(target, wanted.at_most ? allocate_at_most(allocation) : allocate(allocation));
  } else {
    require_closed(context, vg_name, lv.name);
    if (group.vg.snapshot_binding(lv))
      throw Error(ErrorKind::refused,
                  "A snapshot's store is not reduced: its exceptions may lie anywhere in it.");
    context.warn(fmt::format(
        "  WARNING: Reducing logical volume to {}.\n  THIS MAY DESTROY YOUR DATA (filesystem etc.)",
        display_size(after * extent)));
    if (context.force == 0 &&
        !context.confirm(fmt::format("Do you really want to reduce {}? [y/n]: ", shown)))
      throw Error(ErrorKind::refused, fmt::format("Logical volume {} NOT reduced.", shown));
    truncate_lv(target, after);
  }
  const std::uint64_t result = target.extents();
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Size of logical volume {} changed from {} ({} extents) to {} ({} extents).",
                            shown, display_size(before * extent), before, display_size(result * extent),
                            result));
  context.print(fmt::format("  Logical volume {} successfully resized.", shown));
}

void rename_lv(OpContext& context, const VolumeName& from, const std::string& to) {
  const DiskSet::Group& group = require_group(context.disks, from.vg);
  require_changeable(group);
  require_lv(group, from.lv);
  require_closed(context, from.vg, from.lv);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name;
  if (next.find_lv(to) != nullptr)
    throw Error(ErrorKind::refused, fmt::format("Logical Volume \"{}\" already exists in volume group \"{}\"",
                                                printable(to), printable(vg_name)));
  rename_lv(next, from.lv, to);
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Renamed \"{}\" to \"{}\" in volume group \"{}\"", printable(from.lv),
                            printable(to), printable(vg_name)));
}

void remove_lv(OpContext& context, const VolumeName& name) {
  const DiskSet::Group& group = require_group(context.disks, name.vg);
  require_changeable(group);
  require_lv(group, name.lv);
  const std::string vg_name = group.vg.name;
  const std::vector<std::string> order = removal_order(group.vg, name.lv);
  for (const std::string& lv : order) require_closed(context, vg_name, lv);
  if (context.active && context.force == 0)
    for (const std::string& lv : order)
      if (!context.confirm(fmt::format("Do you really want to remove active logical volume {}? [y/n]: ",
                                       full_name(vg_name, lv))))
        throw Error(ErrorKind::refused,
                    fmt::format("Logical volume {} not removed.", full_name(vg_name, lv)));
  // One commit for all: a snapshot is never left behind by a crash in between.
  lvm::VolumeGroup next = group.vg;
  for (const std::string& lv : order) remove_lv(next, lv);
  commit(context, vg_name, std::move(next));
  for (const std::string& lv : order)
    context.print(fmt::format("  Logical volume \"{}\" successfully removed.", printable(lv)));
}

}  // namespace respaldo::engine
