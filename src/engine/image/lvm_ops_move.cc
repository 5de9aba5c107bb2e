// pvmove: copy a piece, commit that it lives elsewhere now, go on.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "engine/image/lvm_ops.h"
#include "engine/image/vg_edit.h"

namespace respaldo::engine {

namespace {

constexpr std::uint64_t kPiece = 256 * kMiB, kCopyStep = 4 * kMiB;

struct Stretch {
  std::string lv;
  std::uint64_t start = 0, count = 0;
};

// What of the PV is to be moved, as it lies now.
std::vector<Stretch> used_stretches(const lvm::VolumeGroup& vg, const lvm::PhysicalVolume& pv,
                                    const ExtentSet& within, const std::string& lv) {
  std::vector<Stretch> result;
  for (const PvSegment& segment : pv_segments(vg, pv)) {
    if (segment.lv == nullptr || (!lv.empty() && segment.lv->name != lv)) continue;
    const ExtentSet parts = within.within({segment.start, segment.count});
    for (const Extent& part : parts.extents()) result.push_back({segment.lv->name, part.offset, part.length});
  }
  return result;
}

void copy(const block::Device& from, block::WritableDevice& to, std::uint64_t source, std::uint64_t target,
          std::uint64_t length) {
  Bytes buffer(kCopyStep);
  for (std::uint64_t at = 0; at < length; at += kCopyStep) {
    const MutableBytes part = buffer.span().first(std::min(kCopyStep, length - at));
    from.read_at(source + at, part);
    to.write_at(target + at, part);
  }
}

}  // namespace

void move_pv(OpContext& context, const MoveRequest& request) {
  if (context.active)
    throw Error(ErrorKind::busy, "Volumes that are being served cannot be moved.",
                "end the activation first");
  const auto [target, ranges] = split_pv_argument(context.disks, request.source);
  if (!target || !target->found || context.disks.pvs()[*target->found].vg.empty())
    throw Error(ErrorKind::not_found,
                fmt::format("Failed to find physical volume \"{}\".", printable(request.source)),
                "it must be in a volume group");
  const std::string vg_name = context.disks.pvs()[*target->found].vg;
  const lvm::Uuid source_id = context.disks.pvs()[*target->found].label.id;
  std::uint64_t moved = 0, total = 0;
  for (;;) {
    if (context.stop.stop_requested()) throw Cancelled();
    const DiskSet::Group& group = context.disks.group(vg_name);
    require_changeable(group);
    const lvm::VolumeGroup& vg = group.vg;
    const lvm::PhysicalVolume& source = *vg.find_pv(source_id);
    const ExtentSet within = ranges.empty() ? ExtentSet{{0, source.pe_count}}
                                            : parse_ranges(ranges, source.pe_count, request.source);
    const auto stretches = used_stretches(vg, source, within, request.lv);
    if (stretches.empty()) break;
    if (total == 0) {
      for (const Stretch& s : stretches) total += s.count * vg.extent_bytes();
      if (context.progress != nullptr) context.progress->begin("moving " + request.source, total);
    }
    AllocationRequest allocation;
    allocation.lv = stretches.front().lv;
    allocation.space = pv_space(context, group, request.destinations);
    std::erase_if(allocation.space, [&](const PvSpace& space) { return space.pv == source.key; });
    allocation.policy = request.policy;
    allocation.extents =
        std::min(stretches.front().count, std::max<std::uint64_t>(1, kPiece / vg.extent_bytes()));
    const auto places = allocate(allocation);
    const auto& place = std::get<lvm::StripedSegment>(places.front().body).areas.front();
    const ExtentMove move{stretches.front().lv,    source.key,   place.name,
                          stretches.front().start, place.extent, places.front().count};
    const lvm::PhysicalVolume& destination = *vg.find_pv(place.name);
    lvm::VolumeGroup next = vg;
    move_extents(next, move);
    if (context.test) return;
    const auto from = context.disks.writable_pv(group.pvs.at(source.id.plain()));
    const auto to = context.disks.writable_pv(group.pvs.at(destination.id.plain()));
    const auto byte_of = [&](const lvm::PhysicalVolume& pv, std::uint64_t extent) {
      return pv.pe_start_sectors * kSector + extent * vg.extent_bytes();
    };
    const std::uint64_t length = move.count * vg.extent_bytes();
    copy(*from, *to, byte_of(source, move.start), byte_of(destination, move.to_start), length);
    to->flush();
    commit(context, vg_name, std::move(next));
    moved += length;
    if (context.progress != nullptr) context.progress->advance(length);
  }
  if (context.progress != nullptr && total != 0) context.progress->end();
  if (moved == 0) throw Error(ErrorKind::refused, fmt::format("No data to move for {}.", printable(vg_name)));
  context.print(fmt::format("  {}: Moved: 100.00%", printable(request.source)));
}

}  // namespace respaldo::engine
