// The model's own questions; reading the text is in vg_parse.cc, printing in vg_print.cc, tables in
// vg_table.cc.
#include "lvm/volume_group.h"

#include <algorithm>

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
std::optional<VolumeGroup::SnapshotBinding> binding_of(const VolumeGroup& vg, const LogicalVolume& pseudo) {
  if (pseudo.segments.size() != 1) return std::nullopt;
  const auto* segment = std::get_if<SnapshotSegment>(&pseudo.segments.front().body);
  if (segment == nullptr) return std::nullopt;
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
    if (auto binding = binding_of(*this, lv); binding && binding->cow->name == cow.name) return binding;
  return std::nullopt;
}

std::vector<VolumeGroup::SnapshotBinding> VolumeGroup::snapshots_of(const LogicalVolume& origin) const {
  std::vector<SnapshotBinding> result;
  for (const LogicalVolume& lv : lvs)
    if (auto binding = binding_of(*this, lv); binding && binding->origin->name == origin.name)
      result.push_back(*binding);
  return result;
}

ExtentSet VolumeGroup::free_extents(const PhysicalVolume& pv) const {
  ExtentSet used;
  const auto take = [&](const SegmentArea& area, std::uint64_t count) {
    if (area.name == pv.key) used.add({area.extent, count});
  };
  for (const LogicalVolume& lv : lvs) {
    for (const Segment& segment : lv.segments) {
      if (const auto* striped = std::get_if<StripedSegment>(&segment.body)) {
        for (const SegmentArea& area : striped->areas) take(area, segment.count / striped->areas.size());
      } else if (const auto* mirror = std::get_if<MirrorSegment>(&segment.body)) {
        for (const SegmentArea& area : mirror->areas) take(area, segment.count);
      } else if (std::holds_alternative<UnknownSegment>(segment.body)) {
        // A type from the future may lie on PVs too: whatever looks like "pvN", extent is taken as used.
        for (const ConfigNode& node : segment.extra) {
          const auto* array = std::get_if<ConfigArray>(&node.value);
          if (array == nullptr) continue;
          for (std::size_t i = 0; i + 1 < array->size(); ++i) {
            const auto* area_name = std::get_if<std::string>(&(*array)[i]);
            const auto* extent = std::get_if<std::int64_t>(&(*array)[i + 1]);
            if (area_name != nullptr && extent != nullptr && *extent >= 0)
              take({*area_name, static_cast<std::uint64_t>(*extent)}, segment.count);
          }
        }
      }
    }
  }
  return used.complement({0, pv.pe_count});
}

std::uint64_t VolumeGroup::free_extent_count() const {
  std::uint64_t sum = 0;
  for (const PhysicalVolume& pv : pvs)
    if (pv.allocatable() && !pv.missing_flag()) sum += free_extents(pv).total();
  return sum;
}

}  // namespace respaldo::lvm
