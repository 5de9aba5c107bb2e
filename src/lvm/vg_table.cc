// VolumeGroup::table: what activation would load into device-mapper.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "lvm/volume_group.h"

namespace respaldo::lvm {

namespace {

std::optional<dm::RaidLevel> raid_level(const std::string& type) {
  if (type == "raid0" || type == "raid0_meta") return dm::RaidLevel::raid0;
  if (type == "raid1") return dm::RaidLevel::raid1;
  if (type == "raid4") return dm::RaidLevel::raid4;
  if (type == "raid5" || type == "raid5_ls") return dm::RaidLevel::raid5_ls;
  if (type == "raid5_n") return dm::RaidLevel::raid5_n;
  if (type == "raid6" || type == "raid6_zr") return dm::RaidLevel::raid6_zr;
  if (type == "raid10" || type == "raid10_near") return dm::RaidLevel::raid10;
  return std::nullopt;
}

class TableMaker {
 public:
  TableMaker(const VolumeGroup& vg, const LogicalVolume& lv) : vg_(vg), lv_(lv) {}

  dm::Table segments() const {
    dm::Table table;
    for (const Segment& segment : lv_.segments)
      table.push_back({segment.start * vg_.extent_sectors, segment.count * vg_.extent_sectors,
                       std::visit([&](const auto& body) { return target(segment, body); }, segment.body)});
    return table;
  }

 private:
  std::string name(const std::string& lv, std::string_view layer = "") const {
    return dm_name(vg_.name, lv, layer);
  }

  dm::DeviceRef place(const SegmentArea& area) const {
    const std::uint64_t sectors = area.extent * vg_.extent_sectors;
    if (const PhysicalVolume* pv = vg_.find_pv(area.name))
      return {"pv:" + pv->id.plain(), pv->pe_start_sectors + sectors};
    return {name(area.name), sectors};
  }

  dm::Target target(const Segment&, const StripedSegment& body) const {
    if (body.areas.size() == 1) return dm::LinearTarget{place(body.areas.front())};
    dm::StripedTarget striped;
    striped.chunk = body.stripe_sectors;
    for (const SegmentArea& area : body.areas) striped.legs.push_back(place(area));
    return striped;
  }
  dm::Target target(const Segment&, const MirrorSegment& body) const {
    dm::MirrorTarget mirror;
    mirror.region = body.region_sectors;
    for (const SegmentArea& area : body.areas) mirror.legs.push_back(place(area));
    // Only the first leg of a move, or of a mirror that was never in sync, is sure to be right.
    if (body.extents_moved || lv_.has_status("NOTSYNCED") || lv_.has_status("PVMOVE")) mirror.legs.resize(1);
    return mirror;
  }
  dm::Target target(const Segment& segment, const RaidSegment& body) const {
    const auto level = raid_level(body.level);
    if (!level) return unsupported(segment, "its layout has not been proven");
    dm::RaidTarget raid;
    raid.level = *level;
    raid.chunk = body.stripe_sectors;
    raid.region = body.region_sectors;
    if (body.data_copies != 0) raid.copies = body.data_copies;
    const bool not_synced = lv_.has_status("NOTSYNCED");
    for (std::size_t i = 0; i < body.images.size(); ++i) {
      const LogicalVolume* image = vg_.find_lv(body.images[i]);
      dm::RaidLeg leg;
      if (!body.metadata.empty()) leg.metadata = name(body.metadata[i]);
      leg.data = name(body.images[i]);
      leg.out_of_sync = image->has_status("REBUILD") || image->has_status("NOTSYNCED") ||
                        (not_synced && *level == dm::RaidLevel::raid1 && i > 0);
      raid.legs.push_back(std::move(leg));
    }
    return raid;
  }
  dm::Target target(const Segment& segment, const SnapshotSegment&) const {
    return unsupported(segment, "it only binds a snapshot to its origin");
  }
  dm::Target target(const Segment&, const ThinPoolSegment& body) const {
    return dm::ThinPoolTarget{name(body.metadata), name(body.data), body.chunk_sectors, body.transaction_id};
  }
  dm::Target target(const Segment&, const ThinSegment& body) const {
    dm::ThinTarget thin{name(body.pool, "tpool"), body.device_id, std::nullopt};
    if (body.external_origin) thin.external_origin = name(*body.external_origin);
    return thin;
  }
  dm::Target target(const Segment&, const ErrorSegment&) const { return dm::ErrorTarget{}; }
  dm::Target target(const Segment&, const ZeroSegment&) const { return dm::ZeroTarget{}; }
  dm::Target target(const Segment& segment, const UnknownSegment&) const {
    return unsupported(segment, "respaldo does not read this type");
  }
  static dm::Target unsupported(const Segment& segment, std::string why) {
    return dm::UnsupportedTarget{segment.type, std::move(why)};
  }

  const VolumeGroup& vg_;
  const LogicalVolume& lv_;
};

}  // namespace

dm::Table VolumeGroup::table(const LogicalVolume& lv, std::string_view layer) const {
  const dm::Table segments = TableMaker(*this, lv).segments();
  if (segments.empty()) return {};
  if (!layer.empty()) {
    if (layer != "real" && layer != "cow" && layer != "tpool")
      throw Error(ErrorKind::corrupt, fmt::format("volume {}/{} has no layer '{}'", name, lv.name, layer));
    return segments;
  }
  if (const auto binding = snapshot_binding(lv)) {
    const std::uint64_t length = binding->virtual_extents * extent_sectors;
    // While a snapshot is merged into its origin it can no longer be read by itself.
    if (binding->merging) return {{0, length, dm::ErrorTarget{}}};
    return {{0, length,
             dm::SnapshotTarget{dm_name(name, binding->origin->name, "real"), dm_name(name, lv.name, "cow"),
                                binding->chunk_sectors}}};
  }
  const auto snapshots = snapshots_of(lv);
  if (snapshots.empty()) return segments;
  const std::uint64_t length = lv.extents() * extent_sectors;
  const std::string real = dm_name(name, lv.name, "real");
  for (const SnapshotBinding& snapshot : snapshots)
    if (snapshot.merging)
      return {
          {0, length,
           dm::SnapshotMergeTarget{real, dm_name(name, snapshot.cow->name, "cow"), snapshot.chunk_sectors}}};
  return {{0, length, dm::SnapshotOriginTarget{real}}};
}

}  // namespace respaldo::lvm
