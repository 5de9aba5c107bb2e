// The model's own questions; reading the text is in vg_parse.cc, printing in vg_print.cc, tables in
// vg_table.cc.
#include "lvm/volume_group.h"

#include <algorithm>
#include <unordered_map>

namespace respaldo::lvm {

namespace {
bool has(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}
}  // namespace

bool PhysicalVolume::allocatable() const { return has(status, "ALLOCATABLE"); }
bool PhysicalVolume::missing_flag() const { return has(flags, "MISSING") || has(status, "MISSING"); }

std::uint64_t LogicalVolume::extents() const {
  std::uint64_t sum = 0;
  for (const Segment& segment : segments) sum += segment.count;
  return sum;
}
std::string LogicalVolume::kind() const {
  if (segments.empty()) return {};
  const auto* striped = std::get_if<StripedSegment>(&segments.front().body);
  return striped != nullptr && striped->areas.size() == 1 ? "linear" : segments.front().type;
}
bool LogicalVolume::visible() const { return has(status, "VISIBLE"); }
bool LogicalVolume::writable() const { return has(status, "WRITE") || has(flags, "WRITE_LOCKED"); }
bool LogicalVolume::has_status(std::string_view s) const { return has(status, s); }

const LogicalVolume* VolumeGroup::find_lv(std::string_view lv_name) const {
  for (const LogicalVolume& lv : lvs)
    if (lv.name == lv_name) return &lv;
  return nullptr;
}
LogicalVolume* VolumeGroup::find_lv(std::string_view lv_name) {
  for (LogicalVolume& lv : lvs)
    if (lv.name == lv_name) return &lv;
  return nullptr;
}
const PhysicalVolume* VolumeGroup::find_pv(std::string_view key) const {
  for (const PhysicalVolume& pv : pvs)
    if (pv.key == key) return &pv;
  return nullptr;
}
const PhysicalVolume* VolumeGroup::find_pv(const Uuid& pv_id) const {
  for (const PhysicalVolume& pv : pvs)
    if (pv.id == pv_id) return &pv;
  return nullptr;
}

namespace {
const SnapshotSegment* snapshot_segment(const LogicalVolume& pseudo) {
  return pseudo.segments.size() == 1 ? std::get_if<SnapshotSegment>(&pseudo.segments.front().body) : nullptr;
}

std::optional<VolumeGroup::SnapshotBinding> binding_of(const VolumeGroup& vg, const LogicalVolume& pseudo) {
  const SnapshotSegment* segment = snapshot_segment(pseudo);
  VolumeGroup::SnapshotBinding binding;
  binding.pseudo = &pseudo;
  binding.cow = vg.find_lv(segment->cow);
  binding.origin = vg.find_lv(segment->origin);
  binding.virtual_extents = pseudo.segments.front().count;
  binding.chunk_sectors = segment->chunk_sectors;
  binding.merging = segment->merging;
  if (binding.cow == nullptr || binding.origin == nullptr) return std::nullopt;
  return binding;
}
}  // namespace

std::optional<VolumeGroup::SnapshotBinding> VolumeGroup::snapshot_binding(const LogicalVolume& cow) const {
  for (const LogicalVolume& lv : lvs)
    if (const auto* segment = snapshot_segment(lv); segment != nullptr && segment->cow == cow.name)
      return binding_of(*this, lv);
  return std::nullopt;
}

std::vector<VolumeGroup::SnapshotBinding> VolumeGroup::snapshots_of(const LogicalVolume& origin) const {
  std::vector<SnapshotBinding> result;
  for (const LogicalVolume& lv : lvs)
    if (const auto* segment = snapshot_segment(lv); segment != nullptr && segment->origin == origin.name)
      if (auto binding = binding_of(*this, lv)) result.push_back(*binding);
  return result;
}

namespace {
// Calls take(PV key or LV name, Extent of extents) for all that segments lie on.
template <class Take>
void for_each_area(const std::vector<LogicalVolume>& lvs, Take take) {
  for (const LogicalVolume& lv : lvs) {
    for (const Segment& segment : lv.segments) {
      if (const auto* striped = std::get_if<StripedSegment>(&segment.body)) {
        for (const SegmentArea& area : striped->areas)
          take(area.name, Extent{area.extent, segment.count / striped->areas.size()});
      } else if (const auto* mirror = std::get_if<MirrorSegment>(&segment.body)) {
        for (const SegmentArea& area : mirror->areas) take(area.name, Extent{area.extent, segment.count});
      } else if (std::holds_alternative<UnknownSegment>(segment.body)) {
        // A type from the future may lie on PVs too: whatever looks like "pvN", extent is taken as used.
        for (const ConfigNode& node : segment.extra) {
          const auto* array = std::get_if<ConfigArray>(&node.value);
          if (array == nullptr) continue;
          for (std::size_t i = 0; i + 1 < array->size(); ++i) {
            const auto* name = std::get_if<std::string>(&(*array)[i]);
            const auto* extent = std::get_if<std::int64_t>(&(*array)[i + 1]);
            if (name != nullptr && extent != nullptr && *extent >= 0)
              take(*name, Extent{static_cast<std::uint64_t>(*extent), segment.count});
          }
        }
      }
    }
  }
}

// Sorted first: a set that grows at its end only is cheap.
ExtentSet gaps(std::vector<Extent> used, std::uint64_t count) {
  std::sort(used.begin(), used.end(), [](Extent a, Extent b) { return a.offset < b.offset; });
  ExtentSet set;
  for (const Extent& extent : used) set.add(extent);
  return set.complement({0, count});
}
}  // namespace

ExtentSet VolumeGroup::free_extents(const PhysicalVolume& pv) const {
  std::vector<Extent> used;
  for_each_area(lvs, [&](const std::string& area, Extent extents) {
    if (area == pv.key) used.push_back(extents);
  });
  return gaps(std::move(used), pv.pe_count);
}

std::uint64_t VolumeGroup::free_extent_count() const {
  std::unordered_map<std::string_view, std::vector<Extent>> used;
  for_each_area(lvs, [&](const std::string& area, Extent extents) { used[area].push_back(extents); });
  std::uint64_t sum = 0;
  for (const PhysicalVolume& pv : pvs)
    if (pv.allocatable() && !pv.missing_flag()) sum += gaps(std::move(used[pv.key]), pv.pe_count).total();
  return sum;
}

}  // namespace respaldo::lvm
