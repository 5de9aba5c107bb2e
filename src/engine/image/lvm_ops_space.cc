// Sizes, space and beginnings of new LVs.
#include "engine/image/lvm_ops_impl.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/printable.h"
#include "fs/probe/probe.h"

namespace respaldo::engine {

namespace {

constexpr std::uint64_t kDefaultStripe = 64 * kKiB;

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

Error of_no_size() {
  return Error(ErrorKind::no_space, "Calculated size of logical volume is 0 extents. Needs to be larger.");
}

}  // namespace

std::string full_name(const std::string& vg, const std::string& lv) {
  return printable(vg) + "/" + printable(lv);
}

Wanted resolve_size(const lvm::VolumeGroup& vg, const SizeSpec& size, const std::vector<PvSpace>& space,
                    std::uint64_t origin, std::optional<std::uint64_t> now) {
  const bool up = now && size.sign != SizeSign::minus;
  const std::uint64_t extent = vg.extent_bytes();
  switch (size.base) {
    case SizeBase::bytes:
      return {size.value / extent + (size.value % extent != 0 ? 1 : 0)};
    case SizeBase::extents:
      return {size.value};
    case SizeBase::vg:
      return {percent_of(total_extents(vg), size.value, up), true};
    case SizeBase::free:
      return {percent_of(vg.free_extent_count(), size.value, up), true};
    case SizeBase::pvs:
      return {percent_of(free_extents(space), size.value, up), true};
    case SizeBase::origin:
      return {percent_of(origin, size.value, true)};
    case SizeBase::lv:
      return {percent_of(now.value_or(0), size.value, up)};
  }
  return {};
}

std::uint64_t stripe_sectors(OpContext& context, const lvm::VolumeGroup& vg, unsigned stripes,
                             std::uint64_t bytes) {
  if (stripes == 1) return 0;
  if (bytes == 0) context.print(fmt::format("  Using default stripesize {}.", display_size(kDefaultStripe)));
  std::uint64_t size = bytes != 0 ? bytes : kDefaultStripe;
  if (!std::has_single_bit(size) || size < 4 * kKiB)
    throw Error(ErrorKind::usage, fmt::format("Invalid stripe size {}.", display_size(size)),
                "it is a power of 2, and 4 KiB at least");
  if (size > vg.extent_bytes()) {
    size = vg.extent_bytes();
    context.print(fmt::format("  Reducing requested stripe size {} to maximum, physical extent size {}.",
                              display_size(bytes != 0 ? bytes : kDefaultStripe), display_size(size)));
  }
  return size / kSector;
}

std::vector<lvm::Segment> find_space(OpContext& context, const DiskSet::Group& group,
                                     const LvRequest& request, std::uint64_t origin_extents) {
  const lvm::VolumeGroup& vg = group.vg;
  const std::uint64_t extent = vg.extent_bytes();
  const bool rounded_to_extent = request.size.base == SizeBase::bytes && request.size.value % extent != 0;
  const auto tell_rounding = [&](std::uint64_t extents) {
    if (rounded_to_extent)
      context.print(
          fmt::format("  Rounding up size to full physical extent {}", display_size(extents * extent)));
  };
  if (request.type != "striped") {
    const Wanted wanted = resolve_size(vg, request.size, {}, origin_extents, std::nullopt);
    tell_rounding(wanted.extents);
    if (wanted.extents == 0) throw of_no_size();
    lvm::Segment segment;
    segment.count = wanted.extents;
    segment.type = request.type;
    if (request.type == "zero")
      segment.body = lvm::ZeroSegment{};
    else
      segment.body = lvm::ErrorSegment{};
    return {segment};
  }
  const unsigned stripes = request.stripes == 0 ? 1 : request.stripes;
  AllocationRequest allocation;
  allocation.lv = request.name;
  allocation.stripes = stripes;
  allocation.stripe_sectors = stripe_sectors(context, vg, stripes, request.stripe_bytes);
  allocation.space = pv_space(context, group, request.pvs);
  Wanted wanted = resolve_size(vg, request.size, allocation.space, origin_extents, std::nullopt);
  tell_rounding(wanted.extents);
  const std::uint64_t free = vg.free_extent_count();
  if (wanted.at_most && wanted.extents > free) {
    context.print(fmt::format("  Reducing {}{} to remaining free space {} in VG.", request.size.value,
                              request.size.percent_name(), display_size(free * extent)));
    wanted.extents = free;
  }
  allocation.extents = wanted.extents;
  if (allocation.extents == 0) throw of_no_size();
  if (allocation.extents % stripes != 0) {
    const std::uint64_t down = allocation.extents / stripes * stripes, up = down + stripes;
    if (wanted.at_most && up > free)
      context.print(fmt::format("  Rounding size ({} extents) down to stripe boundary size ({} extents)",
                                allocation.extents, down));
    else
      context.print(fmt::format("  Rounding size {} ({} extents) up to stripe boundary size {} ({} extents).",
                                display_size(allocation.extents * extent), allocation.extents,
                                display_size(up * extent), up));
    allocation.extents = wanted.at_most && up > free ? down : up;
    if (allocation.extents == 0) throw of_no_size();
  }
  const std::size_t pv_count = request.pvs.empty() ? vg.pvs.size() : allocation.space.size();
  if (stripes > pv_count && stripes > 1)
    throw Error(ErrorKind::no_space,
                fmt::format("Number of stripes ({}) must not exceed number of physical volumes ({})", stripes,
                            pv_count));
  if (allocation.extents > free && !wanted.at_most)
    throw Error(ErrorKind::no_space,
                fmt::format("Volume group \"{}\" has insufficient free space ({} extents): {} required.",
                            printable(vg.name), free, allocation.extents));
  if (request.policy)
    allocation.policy = *request.policy;
  else if (vg.allocation_policy)
    allocation.policy = parse_allocation_policy(*vg.allocation_policy).value_or(AllocationPolicy::normal);
  std::vector<lvm::Segment> segments = wanted.at_most ? allocate_at_most(allocation) : allocate(allocation);
  if (segments.empty()) throw of_no_size();
  return segments;
}

void wipe_new(OpContext& context, const DiskSet::Group& group, const lvm::VolumeGroup& next,
              const std::string& name, bool zero, bool wipe) {
  const lvm::LogicalVolume& lv = *next.find_lv(name);
  if (context.test || (!zero && !wipe) ||
      !std::holds_alternative<lvm::StripedSegment>(lv.segments.front().body))
    return;
  // The group as it will be.
  DiskSet::Group fresh = group;
  fresh.vg = next;
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

void add_new_lv(const OpContext& context, lvm::VolumeGroup& next, const LvRequest& request,
                std::vector<lvm::Segment> segments) {
  NewLv lv;
  lv.name = request.name;
  lv.segments = std::move(segments);
  lv.tags = request.tags;
  if (request.policy) lv.allocation_policy = std::string(to_string(*request.policy));
  lv.writable = request.writable;
  lv.now = context.now();
  lv.host = context.host;
  lvm::LogicalVolume& added = add_lv(next, std::move(lv));
  if (request.activation_skip) added.flags.emplace_back("ACTIVATION_SKIP");
}

const lvm::LogicalVolume& require_user_lv(const DiskSet::Group& group, const std::string& name) {
  const lvm::LogicalVolume& lv = require_lv(group, name);
  if (!lv.visible() && !group.vg.snapshot_binding(lv))
    throw Error(ErrorKind::refused,
                fmt::format("Operation not permitted on hidden LV {}.", full_name(group.vg.name, name)));
  return lv;
}

void require_closed(const OpContext& context, const std::string& vg, const std::string& lv) {
  if (context.active && context.is_open && context.is_open({vg, lv}))
    throw Error(ErrorKind::busy, fmt::format("Logical volume {} in use.", full_name(vg, lv)),
                "close its file first");
}

}  // namespace respaldo::engine
