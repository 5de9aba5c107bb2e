// What fields and display verbs both need to know of a volume.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/printable.h"
#include "base/units.h"
#include "cli/lvm/report.h"

namespace respaldo::cli {

namespace {

bool is_partial(const ReportRow& row) {
  for (const lvm::Segment& segment : row.lv->segments)
    if (const auto* body = std::get_if<lvm::StripedSegment>(&segment.body))
      for (const lvm::SegmentArea& area : body->areas)
        if (const auto* pv = row.group->vg.find_pv(area.name))
          if (!row.group->pvs.contains(pv->id.plain()) || pv->missing_flag()) return true;
  return false;
}

}  // namespace

bool has_word(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::uint64_t total_extents(const lvm::VolumeGroup& vg) {
  std::uint64_t total = 0;
  for (const lvm::PhysicalVolume& pv : vg.pvs) total += pv.pe_count;
  return total;
}

std::uint64_t shown_lv_count(const lvm::VolumeGroup& vg) {
  return static_cast<std::uint64_t>(std::count_if(vg.lvs.begin(), vg.lvs.end(), [&](const auto& lv) {
    return (lv.visible() || vg.snapshot_binding(lv)) && !engine::is_snapshot_pseudo(lv);
  }));
}

std::string policy_letter(const std::optional<std::string>& policy) {
  if (!policy || *policy == "inherit") return "i";
  if (*policy == "contiguous") return "c";
  if (*policy == "cling") return "l";
  return *policy == "anywhere" ? "a" : "n";
}

FieldValue size_value(std::uint64_t bytes, const ReportContext& context) {
  return {context.size(bytes), static_cast<double>(bytes)};
}

std::string lv_time_text(const lvm::LogicalVolume& lv) {
  if (!lv.creation_time) return "";
  const std::time_t when = *lv.creation_time;
  std::tm broken{};
  ::localtime_r(&when, &broken);
  char text[64];
  return std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &broken) > 0 ? text : "";
}

std::optional<dm::CowStatus> ReportContext::cow(const engine::DiskSet::Group& group,
                                                const lvm::LogicalVolume& lv) {
  const auto [it, fresh] = cows_.try_emplace(lv.id.plain());
  if (!fresh) return it->second;
  const auto binding = group.vg.snapshot_binding(lv);
  try {
    it->second = dm::CowStore::load(*op_.disks.open_layer(group, lv, "cow"),
                                    binding ? binding->chunk_sectors * kSector : 4096)
                     .status();
  } catch (const Error&) {
    // Shown as an empty field, as lvm2 does.
  }
  if (it->second && op_.has_died && op_.has_died({group.vg.name, lv.name})) {
    it->second->valid = false;
    it->second->used = it->second->total;
  }
  return it->second;
}

std::string ReportContext::pv_name(const ReportRow& row) const {
  return row.found != nullptr ? printable(row.found->name) : "[unknown]";
}

std::string ReportContext::pv_name(const engine::DiskSet::Group& group, std::string_view key) const {
  const lvm::PhysicalVolume* pv = group.vg.find_pv(key);
  if (pv == nullptr) return printable(key);
  const auto at = group.pvs.find(pv->id.plain());
  return at == group.pvs.end() ? "[unknown]" : printable(op_.disks.pvs()[at->second].name);
}

std::string segment_type(const lvm::Segment& segment) {
  if (const auto* striped = std::get_if<lvm::StripedSegment>(&segment.body);
      striped != nullptr && striped->areas.size() == 1)
    return "linear";
  return printable(segment.type);
}

std::uint64_t stripe_bytes(const lvm::Segment& segment) {
  if (const auto* striped = std::get_if<lvm::StripedSegment>(&segment.body))
    return striped->areas.size() > 1 ? striped->stripe_sectors * kSector : 0;
  if (const auto* raid = std::get_if<lvm::RaidSegment>(&segment.body)) return raid->stripe_sectors * kSector;
  return 0;
}

std::vector<SegmentLeg> segment_legs(const engine::DiskSet::Group& group, const lvm::Segment& segment,
                                     const ReportContext& context) {
  std::vector<SegmentLeg> legs;
  const auto add_areas = [&](const std::vector<lvm::SegmentArea>& areas, std::uint64_t count) {
    for (const lvm::SegmentArea& area : areas)
      legs.push_back(
          {context.pv_name(group, area.name), area.extent, count, group.vg.find_pv(area.name) != nullptr});
  };
  const auto add_lv = [&](const std::string& name) {
    const lvm::LogicalVolume* lv = group.vg.find_lv(name);
    legs.push_back({printable(name), 0, lv != nullptr ? lv->extents() : segment.count, false});
  };
  if (const auto* striped = std::get_if<lvm::StripedSegment>(&segment.body)) {
    if (!striped->areas.empty()) add_areas(striped->areas, segment.count / striped->areas.size());
  } else if (const auto* mirror = std::get_if<lvm::MirrorSegment>(&segment.body)) {
    add_areas(mirror->areas, segment.count);
  } else if (const auto* raid = std::get_if<lvm::RaidSegment>(&segment.body)) {
    for (const std::string& image : raid->images) add_lv(image);
  } else if (const auto* pool = std::get_if<lvm::ThinPoolSegment>(&segment.body)) {
    add_lv(pool->data);
  }
  return legs;
}

std::string vg_attributes(const engine::DiskSet::Group& group) {
  const lvm::VolumeGroup& vg = group.vg;
  std::string text = has_word(vg.status, "WRITE") ? "w" : "r";
  text += has_word(vg.status, "RESIZEABLE") ? "z" : "-";
  text += has_word(vg.status, "EXPORTED") ? "x" : "-";
  text += group.pvs.size() < vg.pvs.size() ? "p" : "-";
  const std::string policy = policy_letter(vg.allocation_policy);
  text += policy == "i" ? "n" : policy;
  return text + (vg.lock_type && *vg.lock_type != "none" ? "s" : "-");
}

std::string lv_attributes(const ReportRow& row, ReportContext& context) {
  const lvm::VolumeGroup& vg = row.group->vg;
  const lvm::LogicalVolume& lv = *row.lv;
  const auto b = vg.snapshot_binding(lv);
  const auto snapshots = vg.snapshots_of(lv);
  const bool merging_origin =
      std::any_of(snapshots.begin(), snapshots.end(), [](const auto& s) { return s.merging; });
  std::string text = "-";
  char target = '-';
  if (b) {
    text = b->merging ? "S" : "s";
    target = 's';
  } else if (merging_origin) {
    text = "O";
    target = 's';
  } else if (!snapshots.empty()) {
    text = "o";
    target = 's';
  } else if (!lv.segments.empty()) {
    const auto& body = lv.segments.front().body;
    if (std::holds_alternative<lvm::ThinPoolSegment>(body)) text = "t", target = 't';
    if (std::holds_alternative<lvm::ThinSegment>(body)) text = "V", target = 't';
    if (std::holds_alternative<lvm::RaidSegment>(body))
      text = lv.has_status("NOTSYNCED") ? "R" : "r", target = 'r';
    if (std::holds_alternative<lvm::MirrorSegment>(body))
      text = lv.has_status("PVMOVE") ? "p" : lv.has_status("NOTSYNCED") ? "M" : "m", target = 'm';
    if (std::holds_alternative<lvm::UnknownSegment>(body)) target = 'u';
    if (std::holds_alternative<lvm::ZeroSegment>(body) || std::holds_alternative<lvm::ErrorSegment>(body))
      text = "v", target = 'v';
    if (!lv.visible())
      text = lv.name.ends_with("_tmeta") || lv.name.ends_with("_rmeta") ? "e"
             : lv.name.ends_with("_tdata")                              ? "T"
                                                                        : "i";
  }
  text += lv.writable() ? "w" : "r";
  text += policy_letter(lv.allocation_policy);
  text += "-";
  bool invalid = false;
  if (b)
    if (const auto status = context.cow(*row.group, lv)) invalid = !status->valid;
  const engine::OpContext& op = context.op();
  text += op.active ? (invalid ? "I" : "a") : "-";
  text += op.active && op.is_open && op.is_open({vg.name, lv.name}) ? "o" : "-";
  text += target;
  text += "-";
  text += is_partial(row) ? "p" : "-";
  return text + (has_word(lv.flags, "ACTIVATION_SKIP") ? "k" : "-");
}

}  // namespace respaldo::cli
