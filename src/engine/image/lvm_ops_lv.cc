// lvcreate, lvextend, lvreduce, lvrename, lvremove.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "engine/image/lvm_ops_impl.h"

namespace respaldo::engine {

void create_lv(OpContext& context, const LvRequest& given) {
  LvRequest request = given;
  const DiskSet::Group& group = require_group(context.disks, request.vg);
  require_changeable(group);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name;
  if (request.name.empty())
    request.name = free_lv_name(next, "lvol");
  else
    require_valid_lv_name(next, request.name);
  require_new_lv_name(next, request.name);
  add_new_lv(context, next, request, find_space(context, group, request, 0));
  // The extents are nobody's until the commit: what is written to them now is safe at any moment.
  wipe_new(context, group, next, request.name, request.zero, request.wipe_signatures && request.zero);
  if (!request.zero)
    context.print(fmt::format("  WARNING: Logical volume {} not zeroed.", full_name(vg_name, request.name)));
  commit(context, vg_name, std::move(next));
  context.print(fmt::format("  Logical volume \"{}\" created.", printable(request.name)));
}

void resize_lv(OpContext& context, const ResizeRequest& request) {
  const DiskSet::Group& group = require_group(context.disks, request.name.vg);
  require_changeable(group);
  if (group.vg.find_lv(request.name.lv) == nullptr)
    throw Error(ErrorKind::not_found, fmt::format("Logical volume {} not found in volume group {}.",
                                                  printable(request.name.lv), printable(group.vg.name)));
  const lvm::LogicalVolume& lv = require_user_lv(group, request.name.lv);
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
  const Wanted wanted = resolve_size(next, request.size, space, 0, before);
  if (request.size.base == SizeBase::bytes && request.size.value % extent != 0)
    context.print(fmt::format("  Rounding size to boundary between physical extents: {}.",
                              display_size(wanted.extents * extent)));
  std::uint64_t after = wanted.extents;
  if (request.size.sign == SizeSign::plus)
    after = before + wanted.extents;
  else if (request.size.sign == SizeSign::minus)
    after = wanted.extents >= before ? 0 : before - wanted.extents;
  const auto* last = std::get_if<lvm::StripedSegment>(&lv.segments.back().body);
  const unsigned stripes = request.stripes   ? *request.stripes
                           : last != nullptr ? static_cast<unsigned>(last->areas.size())
                                             : 1;
  std::uint64_t sectors = 0;
  if (after > before && stripes > 1) {
    if (request.stripe_bytes == 0 && last != nullptr && last->stripe_sectors != 0) {
      sectors = last->stripe_sectors;
      context.print(fmt::format("  Using stripesize of last segment {}", display_size(sectors * kSector)));
    } else {
      sectors = stripe_sectors(context, next, stripes, request.stripe_bytes);
    }
    if ((after - before) % stripes != 0) {
      const std::uint64_t rounded = before + ((after - before) / stripes + 1) * stripes;
      context.print(
          fmt::format("  Rounding size ({} extents) up to stripe boundary size for segment ({} extents).",
                      after, rounded));
      after = rounded;
    }
  }
  if (after == 0) throw Error(ErrorKind::refused, fmt::format("Unable to reduce {} below 1 extent.", shown));
  if (after == before)
    throw Error(ErrorKind::refused,
                fmt::format("New size ({} extents) matches existing size ({} extents).", after, before));
  if (after > before && !request.may_extend)
    throw Error(
        ErrorKind::refused,
        fmt::format("New size given ({} extents) not less than existing size ({} extents)", after, before));
  if (after < before && !request.may_reduce)
    throw Error(
        ErrorKind::refused,
        fmt::format("New size given ({} extents) not larger than existing size ({} extents)", after, before));
  lvm::LogicalVolume& target = *next.find_lv(lv.name);
  if (after > before) {
    AllocationRequest allocation;
    allocation.lv = lv.name;
    allocation.space = space;
    allocation.after = &lv.segments.back();
    allocation.start = before;
    if (last == nullptr) throw Error(ErrorKind::unsupported, fmt::format("{} cannot be extended", shown));
    allocation.stripes = stripes;
    allocation.stripe_sectors = sectors;
    allocation.extents = after - before;
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
    // lvm2 asks for active volumes only; these are never seen as such, and as easily lost.
    if (context.force == 0 && !context.yes) {
      context.warn(fmt::format("  WARNING: Reducing{} logical volume to {}.", context.active ? " active" : "",
                               display_size(after * extent)));
      context.warn("  THIS MAY DESTROY YOUR DATA (filesystem etc.)");
      if (!context.confirm(fmt::format("Do you really want to reduce {}? [y/n]: ", shown)))
        throw Error(ErrorKind::refused, fmt::format("Logical volume {} NOT reduced.", shown));
    }
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
  require_user_lv(group, from.lv);
  require_closed(context, from.vg, from.lv);
  lvm::VolumeGroup next = group.vg;
  const std::string vg_name = next.name;
  if (from.lv == to) throw Error(ErrorKind::usage, "Old and new logical volume names must differ");
  require_valid_lv_name(next, to);
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
  const lvm::LogicalVolume& wanted = require_user_lv(group, name.lv);
  if (const auto binding = group.vg.snapshot_binding(wanted); binding && binding->merging)
    throw Error(ErrorKind::refused,
                fmt::format("Can't remove merging snapshot logical volume \"{}\".", printable(name.lv)),
                fmt::format("finish it with lvconvert --merge {}", full_name(name.vg, name.lv)));
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
