// The fields of LVs and their segments. Headings, widths and kinds are lvm2 2.03.16's.
#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"
#include "base/units.h"
#include "cli/lvm/report.h"

namespace respaldo::cli {

namespace {

using Row = ReportRow;
using Context = ReportContext;
using enum FieldKind;

std::optional<lvm::VolumeGroup::SnapshotBinding> binding(const Row& row) {
  return row.group->vg.snapshot_binding(*row.lv);
}

template <typename Body>
const Body* first_body(const Row& row) {
  return row.lv->segments.empty() ? nullptr : std::get_if<Body>(&row.lv->segments.front().body);
}

FieldValue uuid_of(const Row& row, std::string_view name) {
  const lvm::LogicalVolume* lv = name.empty() ? nullptr : row.group->vg.find_lv(name);
  return lv == nullptr ? "" : lv->id.dashed();
}

std::string origin_name(const Row& row) {
  if (const auto b = binding(row)) return b->origin->name;
  if (const auto* thin = first_body<lvm::ThinSegment>(row); thin != nullptr && thin->origin)
    return *thin->origin;
  return "";
}

std::string pool_name(const Row& row) {
  const auto* thin = first_body<lvm::ThinSegment>(row);
  return thin == nullptr ? "" : thin->pool;
}

FieldValue cow_percent(const Row& row, Context& context) {
  if (!binding(row)) return {};
  const auto status = context.cow(*row.group, *row.lv);
  if (!status) return {};
  return {fmt::format("{}.{:02}", status->percent_x100() / 100, status->percent_x100() % 100),
          status->percent_x100() / 100.0};
}

FieldValue layout(const Row& row) {
  if (row.lv->segments.empty()) return FieldValue::list({"unknown"});
  const lvm::Segment& segment = row.lv->segments.front();
  if (const auto* thin = first_body<lvm::ThinSegment>(row)) {
    (void)thin;
    return FieldValue::list({"thin", "sparse"});
  }
  if (first_body<lvm::ThinPoolSegment>(row) != nullptr) return FieldValue::list({"thin", "pool"});
  if (first_body<lvm::MirrorSegment>(row) != nullptr) return FieldValue::list({"mirror"});
  if (const auto* raid = first_body<lvm::RaidSegment>(row)) {
    std::vector<std::string> words = {"raid"};
    const std::string level = raid->level.substr(0, raid->level.find('_'));
    if (level == "raid0" && raid->level == "raid0") return FieldValue::list({"raid", "raid0"});
    words.push_back(level);
    if (level != raid->level) words.push_back(raid->level);
    return FieldValue::list(words);
  }
  return FieldValue::list({segment_type(segment)});
}

FieldValue role(const Row& row) {
  if (!row.lv->visible() && !binding(row)) return FieldValue::list({"private"});
  std::vector<std::string> words = {"public"};
  const auto snapshots = row.group->vg.snapshots_of(*row.lv);
  if (!snapshots.empty()) {
    words.insert(words.end(), {"origin", "thickorigin"});
    if (snapshots.size() > 1) words.emplace_back("multithickorigin");
  }
  if (binding(row)) words.insert(words.end(), {"snapshot", "thicksnapshot"});
  if (const auto* thin = first_body<lvm::ThinSegment>(row); thin != nullptr && thin->origin)
    words.insert(words.end(), {"snapshot", "thinsnapshot"});
  return FieldValue::list(words);
}

FieldValue ranges(const Row& row, Context& context, char join) {
  FieldValue value;
  if (row.segment == nullptr) return value;
  for (const SegmentLeg& leg : segment_legs(*row.group, *row.segment, context)) {
    value.items.push_back(fmt::format("{}:{}-{}", leg.name, leg.first, leg.first + leg.count - 1));
    if (!value.text.empty()) value.text += join;
    value.text += value.items.back();
  }
  return value;
}

FieldValue devices(const Row& row, Context& context) {
  std::vector<std::string> items;
  if (row.segment != nullptr)
    for (const SegmentLeg& leg : segment_legs(*row.group, *row.segment, context))
      items.push_back(fmt::format("{}({})", leg.name, leg.first));
  return FieldValue::list(std::move(items));
}

std::size_t stripes(const Row& row) {
  if (row.segment == nullptr) return 0;
  if (const auto* striped = std::get_if<lvm::StripedSegment>(&row.segment->body))
    return striped->areas.size();
  if (const auto* mirror = std::get_if<lvm::MirrorSegment>(&row.segment->body)) return mirror->areas.size();
  if (const auto* raid = std::get_if<lvm::RaidSegment>(&row.segment->body)) return raid->images.size();
  return std::holds_alternative<lvm::ErrorSegment>(row.segment->body) ||
                 std::holds_alternative<lvm::ZeroSegment>(row.segment->body)
             ? 0
             : 1;
}

std::uint64_t chunk_bytes(const Row& row) {
  if (row.lv != nullptr)
    if (const auto b = binding(row)) return b->chunk_sectors * kSector;
  if (row.segment != nullptr)
    if (const auto* pool = std::get_if<lvm::ThinPoolSegment>(&row.segment->body))
      return pool->chunk_sectors * kSector;
  return 0;
}

std::uint64_t region_bytes(const Row& row) {
  if (row.segment == nullptr) return 0;
  if (const auto* mirror = std::get_if<lvm::MirrorSegment>(&row.segment->body))
    return mirror->region_sectors * kSector;
  if (const auto* raid = std::get_if<lvm::RaidSegment>(&row.segment->body))
    return raid->region_sectors * kSector;
  return 0;
}

FieldValue nothing(const Row&, Context&) { return {}; }

FieldValue yes_no(bool yes, const char* word) { return {yes ? word : "", yes ? 1.0 : 0.0}; }

}  // namespace

std::vector<ReportField> make_lv_fields() {
  constexpr ReportSection kLv = ReportSection::lv;
  return {
      {kLv, "lv_uuid", "LV UUID", 38, string,
       [](const Row& row, Context&) -> FieldValue { return row.lv->id.dashed(); }},
      {kLv, "lv_name", "LV", 4, string,
       [](const Row& row, Context&) -> FieldValue {
         return row.lv->visible() || binding(row) ? printable(row.lv->name)
                                                  : fmt::format("[{}]", printable(row.lv->name));
       }},
      {kLv, "lv_full_name", "LV", 4, string,
       [](const Row& row, Context&) -> FieldValue {
         return printable(row.group->vg.name + "/" + row.lv->name);
       }},
      {kLv, "lv_path", "Path", 4, string,
       [](const Row& row, Context&) -> FieldValue {
         if (!row.lv->visible() && !binding(row)) return {};
         return printable("/dev/" + row.group->vg.name + "/" + row.lv->name);
       }},
      {kLv, "lv_dm_path", "DMPath", 6, string,
       [](const Row& row, Context&) -> FieldValue {
         return printable("/dev/mapper/" + lvm::dm_name(row.group->vg.name, row.lv->name));
       }},
      {kLv, "lv_parent", "Parent", 6, string,
       [](const Row& row, Context&) -> FieldValue {
         if (row.lv->visible() || binding(row)) return {};
         const auto parents = engine::referring_lvs(row.group->vg, row.lv->name);
         return parents.empty() ? "" : printable(parents.front());
       }},
      {kLv, "lv_layout", "Layout", 10, list, [](const Row& row, Context&) { return layout(row); }},
      {kLv, "lv_role", "Role", 10, list, [](const Row& row, Context&) { return role(row); }},
      {kLv, "lv_merging", "Merging", 10, number,
       [](const Row& row, Context&) {
         const auto b = binding(row);
         return yes_no(b && b->merging, "merging");
       }},
      {kLv, "lv_allocation_policy", "AllocPol", 10, string,
       [](const Row& row, Context&) -> FieldValue {
         return printable(row.lv->allocation_policy.value_or("inherit"));
       }},
      {kLv, "lv_active", "Active", 6, string,
       [](const Row&, Context& context) -> FieldValue { return context.op().active ? "active" : ""; }},
      {kLv, "lv_major", "Maj", 3, number,
       [](const Row&, Context&) -> FieldValue {
         return {"-1", -1};
       }},
      {kLv, "lv_minor", "Min", 3, number,
       [](const Row&, Context&) -> FieldValue {
         return {"-1", -1};
       }},
      {kLv, "lv_kernel_major", "KMaj", 4, number,
       [](const Row&, Context&) -> FieldValue {
         return {"-1", -1};
       }},
      {kLv, "lv_kernel_minor", "KMin", 4, number,
       [](const Row&, Context&) -> FieldValue {
         return {"-1", -1};
       }},
      {kLv, "lv_read_ahead", "Rahead", 6, size, [](const Row&, Context&) -> FieldValue { return "auto"; }},
      {kLv, "lv_size", "LSize", 5, size,
       [](const Row& row, Context& context) { return size_value(row.group->vg.lv_bytes(*row.lv), context); }},
      {kLv, "seg_count", "#Seg", 4, number,
       [](const Row& row, Context&) { return FieldValue::count(row.lv->segments.size()); }},
      {kLv, "origin", "Origin", 6, string,
       [](const Row& row, Context&) -> FieldValue { return printable(origin_name(row)); }},
      {kLv, "origin_uuid", "Origin UUID", 38, string,
       [](const Row& row, Context&) { return uuid_of(row, origin_name(row)); }},
      {kLv, "origin_size", "OSize", 5, size,
       [](const Row& row, Context& context) -> FieldValue {
         const std::uint64_t extent = row.group->vg.extent_bytes();
         if (const auto b = binding(row)) return size_value(b->virtual_extents * extent, context);
         if (!row.group->vg.snapshots_of(*row.lv).empty())
           return size_value(row.lv->extents() * extent, context);
         return {};
       }},
      {kLv, "lv_ancestors", "Ancestors", 9, list,
       [](const Row& row, Context&) -> FieldValue {
         const auto b = binding(row);
         return b ? FieldValue::list({b->origin->name}) : FieldValue();
       }},
      {kLv, "lv_descendants", "Descendants", 11, list,
       [](const Row& row, Context&) -> FieldValue {
         std::vector<std::string> names;
         for (const auto& b : row.group->vg.snapshots_of(*row.lv)) names.push_back(b.cow->name);
         return FieldValue::list(std::move(names));
       }},
      {kLv, "move_pv", "Move", 4, string, nothing},
      {kLv, "convert_lv", "Convert", 7, string, nothing},
      {kLv, "mirror_log", "Log", 3, string,
       [](const Row& row, Context&) -> FieldValue {
         const auto* mirror = first_body<lvm::MirrorSegment>(row);
         return mirror != nullptr && mirror->log ? printable(*mirror->log) : "";
       }},
      {kLv, "data_lv", "Data", 4, string,
       [](const Row& row, Context&) -> FieldValue {
         const auto* pool = first_body<lvm::ThinPoolSegment>(row);
         return pool != nullptr ? fmt::format("[{}]", printable(pool->data)) : "";
       }},
      {kLv, "metadata_lv", "Meta", 4, string,
       [](const Row& row, Context&) -> FieldValue {
         const auto* pool = first_body<lvm::ThinPoolSegment>(row);
         return pool != nullptr ? fmt::format("[{}]", printable(pool->metadata)) : "";
       }},
      {kLv, "pool_lv", "Pool", 4, string,
       [](const Row& row, Context&) -> FieldValue { return printable(pool_name(row)); }},
      {kLv, "pool_lv_uuid", "Pool UUID", 38, string,
       [](const Row& row, Context&) { return uuid_of(row, pool_name(row)); }},
      {kLv, "lv_tags", "LV Tags", 7, list,
       [](const Row& row, Context&) { return FieldValue::list(row.lv->tags); }},
      {kLv, "lv_profile", "LProfile", 8, string, nothing},
      {kLv, "lv_time", "CTime", 26, time,
       [](const Row& row, Context&) -> FieldValue {
         FieldValue value(lv_time_text(*row.lv));
         if (row.lv->creation_time) value.number = static_cast<double>(*row.lv->creation_time);
         return value;
       }},
      {kLv, "lv_host", "Host", 10, string,
       [](const Row& row, Context&) -> FieldValue { return printable(row.lv->creation_host); }},
      {kLv, "lv_permissions", "LPerms", 9, string,
       [](const Row& row, Context&) -> FieldValue { return row.lv->writable() ? "writeable" : "read-only"; }},
      {kLv, "lv_device_open", "DevOpen", 10, number,
       [](const Row& row, Context& context) {
         const engine::OpContext& op = context.op();
         return yes_no(op.active && op.is_open && op.is_open({row.group->vg.name, row.lv->name}), "open");
       }},
      {kLv, "data_percent", "Data%", 6, percent, cow_percent},
      {kLv, "snap_percent", "Snap%", 6, percent, cow_percent},
      {kLv, "metadata_percent", "Meta%", 6, percent, nothing},
      {kLv, "copy_percent", "Cpy%Sync", 8, percent, nothing},
      {kLv, "sync_percent", "Cpy%Sync", 8, percent, nothing},
      {kLv, "lv_snapshot_invalid", "SnapInvalid", 15, number,
       [](const Row& row, Context& context) -> FieldValue {
         if (!binding(row)) return {"unknown", -1};
         const auto status = context.cow(*row.group, *row.lv);
         if (!status) return {"unknown", -1};
         return yes_no(!status->valid, "snapshot invalid");
       }},
      {kLv, "lv_attr", "Attr", 0, string,
       [](const Row& row, Context& context) -> FieldValue { return lv_attributes(row, context); }},
  };
}

std::vector<ReportField> make_segment_fields() {
  constexpr ReportSection kSegment = ReportSection::segment, kPvSegment = ReportSection::pv_segment;
  return {
      {kSegment, "segtype", "Type", 0, string,
       [](const Row& row, Context&) -> FieldValue {
         return row.segment == nullptr ? "free" : segment_type(*row.segment);
       }},
      {kSegment, "stripes", "#Str", 4, number,
       [](const Row& row, Context&) { return FieldValue::count(stripes(row)); }},
      {kSegment, "data_stripes", "#DStr", 5, number,
       [](const Row& row, Context&) { return FieldValue::count(stripes(row)); }},
      {kSegment, "stripe_size", "Stripe", 6, size,
       [](const Row& row, Context& context) {
         return size_value(row.segment == nullptr ? 0 : stripe_bytes(*row.segment), context);
       }},
      {kSegment, "region_size", "Region", 6, size,
       [](const Row& row, Context& context) { return size_value(region_bytes(row), context); }},
      {kSegment, "chunk_size", "Chunk", 5, size,
       [](const Row& row, Context& context) { return size_value(chunk_bytes(row), context); }},
      {kSegment, "seg_start", "Start", 5, size,
       [](const Row& row, Context& context) {
         return size_value(row.segment == nullptr ? 0 : row.segment->start * row.group->vg.extent_bytes(),
                           context);
       }},
      {kSegment, "seg_start_pe", "Start", 5, number,
       [](const Row& row, Context&) {
         return FieldValue::count(row.segment == nullptr ? 0 : row.segment->start);
       }},
      {kSegment, "seg_size", "SSize", 5, size,
       [](const Row& row, Context& context) {
         return size_value(row.segment == nullptr ? 0 : row.segment->count * row.group->vg.extent_bytes(),
                           context);
       }},
      {kSegment, "seg_size_pe", "SSize", 5, number,
       [](const Row& row, Context&) {
         return FieldValue::count(row.segment == nullptr ? 0 : row.segment->count);
       }},
      {kSegment, "seg_tags", "Seg Tags", 8, list,
       [](const Row& row, Context&) {
         return row.segment == nullptr ? FieldValue() : FieldValue::list(row.segment->tags);
       }},
      {kSegment, "seg_pe_ranges", "PE Ranges", 9, list,
       [](const Row& row, Context& context) { return ranges(row, context, ' '); }},
      {kSegment, "seg_le_ranges", "LE Ranges", 9, list,
       [](const Row& row, Context& context) { return ranges(row, context, ','); }},
      {kSegment, "devices", "Devices", 5, list, devices},
      {kPvSegment, "pvseg_start", "Start", 5, number,
       [](const Row& row, Context&) { return FieldValue::count(row.pv_segment->start); }},
      {kPvSegment, "pvseg_size", "SSize", 5, number,
       [](const Row& row, Context&) { return FieldValue::count(row.pv_segment->count); }},
  };
}

}  // namespace respaldo::cli
