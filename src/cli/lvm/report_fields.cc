// The fields of pvs, vgs and lvs.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/printable.h"
#include "base/units.h"
#include "cli/lvm/report.h"

namespace respaldo::cli {

namespace {

using engine::used_extents;

ReportValue words(const std::vector<std::string>& all) {
  std::string text;
  for (const std::string& word : all) text += (text.empty() ? "" : ",") + printable(word);
  return {text, {}};
}
ReportValue count(std::uint64_t n) { return {std::to_string(n), static_cast<double>(n)}; }
ReportValue size_of(std::uint64_t bytes, const ReportContext& context) {
  return {context.size(bytes), static_cast<double>(bytes)};
}

std::optional<lvm::VolumeGroup::SnapshotBinding> binding(const ReportRow& row) {
  return row.group != nullptr && row.lv != nullptr ? row.group->vg.snapshot_binding(*row.lv) : std::nullopt;
}

std::uint64_t total_extents(const lvm::VolumeGroup& vg) {
  std::uint64_t total = 0;
  for (const lvm::PhysicalVolume& pv : vg.pvs) total += pv.pe_count;
  return total;
}

bool has(const std::vector<std::string>& all, std::string_view word) {
  return std::find(all.begin(), all.end(), word) != all.end();
}

std::string policy_letter(const std::optional<std::string>& policy) {
  if (!policy || *policy == "inherit") return "i";
  if (*policy == "contiguous") return "c";
  if (*policy == "cling") return "l";
  return *policy == "anywhere" ? "a" : "n";
}

bool is_partial(const ReportRow& row) {
  if (row.group == nullptr || row.lv == nullptr) return false;
  for (const lvm::Segment& segment : row.lv->segments)
    if (const auto* body = std::get_if<lvm::StripedSegment>(&segment.body))
      for (const lvm::SegmentArea& area : body->areas)
        if (const auto* pv = row.group->vg.find_pv(area.name))
          if (!row.group->pvs.contains(pv->id.plain()) || pv->missing_flag()) return true;
  return false;
}

std::string devices(const ReportRow& row, ReportContext& context) {
  std::string text;
  const auto add = [&](const std::string& name, std::uint64_t extent) {
    text += fmt::format("{}{}({})", text.empty() ? "" : ",", name, extent);
  };
  if (row.segment == nullptr) return text;
  if (const auto* striped = std::get_if<lvm::StripedSegment>(&row.segment->body)) {
    for (const lvm::SegmentArea& area : striped->areas)
      add(context.pv_name(*row.group, area.name), area.extent);
  } else if (const auto* mirror = std::get_if<lvm::MirrorSegment>(&row.segment->body)) {
    for (const lvm::SegmentArea& area : mirror->areas) add(printable(area.name), area.extent);
  } else if (const auto* raid = std::get_if<lvm::RaidSegment>(&row.segment->body)) {
    for (const std::string& image : raid->images) add(printable(image), 0);
  } else if (const auto* pool = std::get_if<lvm::ThinPoolSegment>(&row.segment->body)) {
    add(printable(pool->data), 0);
  }
  return text;
}

// "disk.img:0-99 other.img:0-99"
std::string ranges(const ReportRow& row, ReportContext& context) {
  const auto* striped = std::get_if<lvm::StripedSegment>(&row.segment->body);
  if (striped == nullptr || striped->areas.empty()) return "";
  const std::uint64_t length = row.segment->count / striped->areas.size();
  std::string text;
  for (const lvm::SegmentArea& area : striped->areas)
    text += fmt::format("{}{}:{}-{}", text.empty() ? "" : " ", context.pv_name(*row.group, area.name),
                        area.extent, area.extent + length - 1);
  return text;
}

std::string segment_type(const ReportRow& row) {
  if (row.segment == nullptr) return "";
  if (const auto* striped = std::get_if<lvm::StripedSegment>(&row.segment->body);
      striped != nullptr && striped->areas.size() == 1)
    return "linear";
  return printable(row.segment->type);
}

std::size_t stripes(const ReportRow& row) {
  if (row.segment == nullptr) return 0;
  if (const auto* striped = std::get_if<lvm::StripedSegment>(&row.segment->body))
    return striped->areas.size();
  if (const auto* mirror = std::get_if<lvm::MirrorSegment>(&row.segment->body)) return mirror->areas.size();
  if (const auto* raid = std::get_if<lvm::RaidSegment>(&row.segment->body)) return raid->images.size();
  return 1;
}

std::uint64_t stripe_sectors(const ReportRow& row) {
  if (row.segment == nullptr) return 0;
  if (const auto* striped = std::get_if<lvm::StripedSegment>(&row.segment->body))
    return striped->stripe_sectors;
  if (const auto* raid = std::get_if<lvm::RaidSegment>(&row.segment->body)) return raid->stripe_sectors;
  return 0;
}

std::uint64_t chunk_sectors(const ReportRow& row) {
  if (const auto b = binding(row)) return b->chunk_sectors;
  if (row.segment == nullptr) return 0;
  if (const auto* pool = std::get_if<lvm::ThinPoolSegment>(&row.segment->body)) return pool->chunk_sectors;
  return 0;
}

std::string time_text(std::int64_t seconds) {
  const std::time_t when = seconds;
  std::tm broken{};
  ::localtime_r(&when, &broken);
  char text[64];
  return std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &broken) > 0 ? text : "";
}

std::string pv_attributes(const ReportRow& row) {
  const bool missing = row.found == nullptr || (row.pv != nullptr && row.pv->missing_flag());
  std::string text = row.pv == nullptr       ? (row.found != nullptr && row.found->label.in_use ? "u" : "-")
                     : row.pv->allocatable() ? "a"
                                             : "u";
  text += row.group != nullptr && has(row.group->vg.status, "EXPORTED") ? "x" : "-";
  return text + (missing ? "m" : "-");
}

std::string vg_attributes(const lvm::VolumeGroup& vg, bool partial) {
  std::string text = has(vg.status, "WRITE") ? "w" : "r";
  text += has(vg.status, "RESIZEABLE") ? "z" : "-";
  text += has(vg.status, "EXPORTED") ? "x" : "-";
  text += partial ? "p" : "-";
  const std::string policy = policy_letter(vg.allocation_policy);
  text += policy == "i" ? "n" : policy;
  return text + (vg.lock_type && *vg.lock_type != "none" ? "s" : "-");
}

const engine::FoundPv* found_of(const ReportRow& row) { return row.found; }

std::uint64_t pv_size(const ReportRow& row) {
  if (row.pv != nullptr && row.group != nullptr) return row.pv->pe_count * row.group->vg.extent_bytes();
  return row.found != nullptr ? row.found->label.device_size : 0;
}
std::uint64_t pv_used(const ReportRow& row) {
  return row.pv != nullptr && row.group != nullptr
             ? used_extents(row.group->vg, *row.pv) * row.group->vg.extent_bytes()
             : 0;
}

// Rows of other kinds have nothing to say.
#define FOR_LV                    \
  if (row.lv == nullptr) return { \
    }
#define FOR_VG                       \
  if (row.group == nullptr) return { \
    }
#define FOR_SEGMENT                    \
  if (row.segment == nullptr) return { \
    }

std::vector<ReportField> make_fields() {
  using Row = ReportRow;
  using Context = ReportContext;
  return {
      {'l', "lv_uuid", "LV UUID", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         return {row.lv->id.dashed(), {}};
       }},
      {'l', "lv_name", "LV", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         const bool shown = row.lv->visible() || binding(row);
         return {shown ? printable(row.lv->name) : fmt::format("[{}]", printable(row.lv->name)), {}};
       }},
      {'l', "lv_full_name", "LV", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         return {printable(row.group->vg.name + "/" + row.lv->name), {}};
       }},
      {'l', "lv_path", "Path", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         return {printable("/dev/" + row.group->vg.name + "/" + row.lv->name), {}};
       }},
      {'l', "lv_dm_path", "DMPath", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         return {printable("/dev/mapper/" + lvm::dm_name(row.group->vg.name, row.lv->name)), {}};
       }},
      {'l', "lv_attr", "Attr", false,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_LV;
         return {lv_attributes(row, context), {}};
       }},
      {'l', "lv_permissions", "LPerms", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         return {row.lv->writable() ? "writeable" : "read-only", {}};
       }},
      {'l', "lv_snapshot_invalid", "SnapInvalid", true,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_LV;
         if (!binding(row)) return {"unknown", {}};
         const auto status = context.cow(*row.group, *row.lv);
         return {status && !status->valid ? "snapshot invalid" : "", {}};
       },
       15},
      {'l', "lv_size", "LSize", true,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_LV;
         return size_of(row.group->vg.lv_bytes(*row.lv), context);
       }},
      {'l', "lv_tags", "LV Tags", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         return words(row.lv->tags);
       }},
      {'l', "lv_time", "CTime", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         return {row.lv->creation_time ? time_text(*row.lv->creation_time) : "",
                 row.lv->creation_time ? std::optional<double>(static_cast<double>(*row.lv->creation_time))
                                       : std::nullopt};
       },
       26},
      {'l', "lv_host", "Host", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         return {printable(row.lv->creation_host), {}};
       },
       10},
      {'l', "seg_count", "#Seg", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         return count(row.lv->segments.size());
       }},
      {'l', "origin", "Origin", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         if (const auto b = binding(row)) return {printable(b->origin->name), {}};
         if (!row.lv->segments.empty())
           if (const auto* thin = std::get_if<lvm::ThinSegment>(&row.lv->segments.front().body);
               thin != nullptr && thin->origin)
             return {printable(*thin->origin), {}};
         return {};
       }},
      {'l', "origin_size", "OSize", true,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_LV;
         if (const auto b = binding(row))
           return size_of(b->virtual_extents * row.group->vg.extent_bytes(), context);
         if (!row.group->vg.snapshots_of(*row.lv).empty())
           return size_of(row.group->vg.lv_bytes(*row.lv), context);
         return {};
       }},
      {'l', "pool_lv", "Pool", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_LV;
         if (!row.lv->segments.empty())
           if (const auto* thin = std::get_if<lvm::ThinSegment>(&row.lv->segments.front().body))
             return {printable(thin->pool), {}};
         return {};
       }},
      {'l', "data_percent", "Data%", false,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_LV;
         if (!binding(row)) return {};
         const auto status = context.cow(*row.group, *row.lv);
         if (!status) return {};
         return {fmt::format("{}.{:02}", status->percent_x100() / 100, status->percent_x100() % 100),
                 status->percent_x100() / 100.0};
       },
       6},
      {'l', "snap_percent", "Snap%", false,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_LV;
         if (!binding(row)) return {};
         const auto status = context.cow(*row.group, *row.lv);
         if (!status) return {};
         return {fmt::format("{}.{:02}", status->percent_x100() / 100, status->percent_x100() % 100),
                 status->percent_x100() / 100.0};
       },
       6},
      {'l', "metadata_percent", "Meta%", false, [](const Row&, Context&) -> ReportValue { return {}; }, 6},
      {'l', "move_pv", "Move", false, [](const Row&, Context&) -> ReportValue { return {}; }},
      {'l', "mirror_log", "Log", false, [](const Row&, Context&) -> ReportValue { return {}; }},
      {'l', "copy_percent", "Cpy%Sync", false, [](const Row&, Context&) -> ReportValue { return {}; }},
      {'l', "convert_lv", "Convert", false, [](const Row&, Context&) -> ReportValue { return {}; }},
      {'v', "vg_name", "VG", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return {printable(row.group->vg.name), {}};
       }},
      {'v', "vg_uuid", "VG UUID", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return {row.group->vg.id.dashed(), {}};
       }},
      {'v', "vg_fmt", "Fmt", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return {"lvm2", {}};
       }},
      {'v', "vg_attr", "Attr", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return {vg_attributes(row.group->vg, row.group->pvs.size() < row.group->vg.pvs.size()), {}};
       }},
      {'v', "vg_size", "VSize", true,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_VG;
         return size_of(total_extents(row.group->vg) * row.group->vg.extent_bytes(), context);
       }},
      {'v', "vg_free", "VFree", true,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_VG;
         return size_of(row.group->vg.free_extent_count() * row.group->vg.extent_bytes(), context);
       }},
      {'v', "vg_extent_size", "Ext", true,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_VG;
         return size_of(row.group->vg.extent_bytes(), context);
       }},
      {'v', "vg_extent_count", "#Ext", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return count(total_extents(row.group->vg));
       }},
      {'v', "vg_free_count", "Free", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return count(row.group->vg.free_extent_count());
       }},
      {'v', "pv_count", "#PV", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return count(row.group->vg.pvs.size());
       }},
      {'v', "lv_count", "#LV", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         const auto& vg = row.group->vg;
         return count(
             static_cast<std::uint64_t>(std::count_if(vg.lvs.begin(), vg.lvs.end(), [&](const auto& lv) {
               return (lv.visible() || vg.snapshot_binding(lv)) && !engine::is_snapshot_pseudo(lv);
             })));
       }},
      {'v', "snap_count", "#SN", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         const auto& vg = row.group->vg;
         return count(
             static_cast<std::uint64_t>(std::count_if(vg.lvs.begin(), vg.lvs.end(), [&](const auto& lv) {
               return vg.snapshot_binding(lv).has_value();
             })));
       }},
      {'v', "vg_seqno", "Seq", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return count(row.group->vg.seqno);
       }},
      {'v', "vg_mda_count", "#VMda", true,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_VG;
         std::uint64_t areas = 0;
         for (const auto& [uuid, place] : row.group->pvs)
           areas += context.op().disks.pvs()[place].areas.size();
         return count(areas);
       }},
      {'v', "vg_tags", "VG Tags", false,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return words(row.group->vg.tags);
       }},
      {'v', "max_lv", "MaxLV", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return count(row.group->vg.max_lv);
       }},
      {'v', "max_pv", "MaxPV", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return count(row.group->vg.max_pv);
       }},
      {'v', "vg_missing_pv_count", "#PV Missing", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_VG;
         return count(row.group->vg.pvs.size() - row.group->pvs.size());
       }},
      {'p', "pv_name", "PV", false,
       [](const Row& row, Context& context) -> ReportValue {
         return {context.pv_name(row), {}};
       }},
      {'p', "pv_uuid", "PV UUID", false,
       [](const Row& row, Context&) -> ReportValue {
         return {row.pv != nullptr      ? row.pv->id.dashed()
                 : row.found != nullptr ? row.found->label.id.dashed()
                                        : "",
                 {}};
       }},
      {'p', "pv_fmt", "Fmt", false,
       [](const Row&, Context&) -> ReportValue {
         return {"lvm2", {}};
       }},
      {'p', "pv_attr", "Attr", false,
       [](const Row& row, Context&) -> ReportValue {
         return {pv_attributes(row), {}};
       }},
      {'p', "pv_size", "PSize", true,
       [](const Row& row, Context& context) -> ReportValue { return size_of(pv_size(row), context); }},
      {'p', "pv_free", "PFree", true,
       [](const Row& row, Context& context) -> ReportValue {
         return size_of(pv_size(row) - pv_used(row), context);
       }},
      {'p', "pv_used", "Used", true,
       [](const Row& row, Context& context) -> ReportValue { return size_of(pv_used(row), context); }},
      {'p', "dev_size", "DevSize", true,
       [](const Row& row, Context& context) -> ReportValue {
         return size_of(row.found != nullptr ? row.found->extent.length : 0, context);
       }},
      {'p', "pe_start", "1st PE", true,
       [](const Row& row, Context& context) -> ReportValue {
         return size_of(row.pv != nullptr      ? row.pv->pe_start_sectors * kSector
                        : row.found != nullptr ? row.found->label.data_offset
                                               : 0,
                        context);
       },
       7},
      {'p', "pv_pe_count", "PE", true,
       [](const Row& row, Context&) -> ReportValue {
         return count(row.pv != nullptr ? row.pv->pe_count : 0);
       }},
      {'p', "pv_pe_alloc_count", "Alloc", true,
       [](const Row& row, Context&) -> ReportValue {
         return count(row.pv != nullptr ? used_extents(row.group->vg, *row.pv) : 0);
       }},
      {'p', "pv_mda_count", "#PMda", true,
       [](const Row& row, Context&) -> ReportValue {
         return count(found_of(row) != nullptr ? row.found->areas.size() : 0);
       }},
      {'p', "pv_mda_size", "PMdaSize", true,
       [](const Row& row, Context& context) -> ReportValue {
         return size_of(
             row.found != nullptr && !row.found->areas.empty() ? row.found->areas.front().area.length : 0,
             context);
       },
       9},
      {'p', "pv_tags", "PV Tags", false,
       [](const Row& row, Context&) -> ReportValue {
         return row.pv != nullptr ? words(row.pv->tags) : ReportValue{};
       }},
      {'p', "pv_missing", "Missing", false,
       [](const Row& row, Context&) -> ReportValue {
         return {row.found == nullptr ? "missing" : "", {}};
       },
       10},
      {'s', "segtype", "Type", false,
       [](const Row& row, Context&) -> ReportValue {
         return {segment_type(row), {}};
       }},
      {'s', "stripes", "#Str", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_SEGMENT;
         return count(stripes(row));
       }},
      {'s', "stripe_size", "Stripe", true,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_SEGMENT;
         return size_of(stripe_sectors(row) * kSector, context);
       }},
      {'s', "chunk_size", "Chunk", true,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_SEGMENT;
         return size_of(chunk_sectors(row) * kSector, context);
       }},
      {'s', "seg_start", "Start", true,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_SEGMENT;
         return size_of(row.segment->start * row.group->vg.extent_bytes(), context);
       }},
      {'s', "seg_start_pe", "Start", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_SEGMENT;
         return count(row.segment->start);
       }},
      {'s', "seg_size", "SSize", true,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_SEGMENT;
         return size_of(row.segment->count * row.group->vg.extent_bytes(), context);
       }},
      {'s', "seg_size_pe", "SSize", true,
       [](const Row& row, Context&) -> ReportValue {
         FOR_SEGMENT;
         return count(row.segment->count);
       }},
      {'s', "seg_pe_ranges", "PE Ranges", false,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_SEGMENT;
         return {ranges(row, context), {}};
       }},
      {'s', "devices", "Devices", false,
       [](const Row& row, Context& context) -> ReportValue {
         FOR_SEGMENT;
         return {devices(row, context), {}};
       }},
  };
}

#undef FOR_LV
#undef FOR_VG
#undef FOR_SEGMENT

}  // namespace

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

std::string lv_attributes(const ReportRow& row, ReportContext& context) {
  const lvm::VolumeGroup& vg = row.group->vg;
  const lvm::LogicalVolume& lv = *row.lv;
  const auto b = binding(row);
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
    if (!lv.visible())
      text = lv.name.ends_with("_tmeta") || lv.name.ends_with("_rmeta") ? "e"
             : lv.name.ends_with("_tdata")                              ? "T"
                                                                        : "i";
  }
  text += lv.writable() ? "w" : "r";
  const std::string policy = policy_letter(lv.allocation_policy);
  text += policy;
  text += "-";
  bool invalid = false;
  if (b)
    if (const auto status = context.cow(*row.group, lv)) invalid = !status->valid;
  text += context.op().active ? (invalid ? "I" : "a") : "-";
  text += context.op().active && context.op().is_open && context.op().is_open({vg.name, lv.name}) ? "o" : "-";
  text += target;
  text += "-";
  text += is_partial(row) ? "p" : "-";
  return text + "-";
}

const std::vector<ReportField>& lvm_report_fields() {
  static const std::vector<ReportField> fields = make_fields();
  return fields;
}

const ReportField* find_report_field(std::string_view name, std::string_view prefix) {
  const auto bare = [](std::string_view text) {
    std::string out;
    for (const char c : text)
      if (c != '_') out += c;
    return out;
  };
  const std::string wanted = bare(name);
  for (const ReportField& field : lvm_report_fields())
    if (bare(field.id) == wanted) return &field;
  for (const std::string_view lead : {prefix, std::string_view("seg"), std::string_view("vg"),
                                      std::string_view("pv"), std::string_view("lv")})
    for (const ReportField& field : lvm_report_fields())
      if (bare(field.id) == std::string(lead) + wanted) return &field;
  return nullptr;
}

}  // namespace respaldo::cli
