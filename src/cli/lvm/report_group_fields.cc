// The fields of VGs and PVs. Headings, widths and kinds are lvm2 2.03.16's.
#include <algorithm>

#include "base/printable.h"
#include "base/units.h"
#include "cli/lvm/report.h"

namespace respaldo::cli {

namespace {

using Row = ReportRow;
using Context = ReportContext;
using enum FieldKind;
using engine::used_extents;

FieldValue yes_no(bool yes, const char* word) { return {yes ? word : "", yes ? 1.0 : 0.0}; }

bool exported(const Row& row) { return row.group != nullptr && has_word(row.group->vg.status, "EXPORTED"); }
bool missing(const Row& row) { return row.found == nullptr || (row.pv != nullptr && row.pv->missing_flag()); }

std::string pv_attributes(const Row& row) {
  std::string text = row.pv == nullptr       ? (row.found != nullptr && row.found->label.in_use ? "u" : "-")
                     : row.pv->allocatable() ? "a"
                                             : "u";
  text += exported(row) ? "x" : "-";
  return text + (missing(row) ? "m" : "-");
}

std::uint64_t pv_bytes(const Row& row) {
  if (row.pv != nullptr && row.group != nullptr) return row.pv->pe_count * row.group->vg.extent_bytes();
  return row.found != nullptr ? row.found->label.device_size : 0;
}
std::uint64_t pv_used(const Row& row) {
  return row.pv != nullptr && row.group != nullptr
             ? used_extents(row.group->vg, *row.pv) * row.group->vg.extent_bytes()
             : 0;
}

// Over the present PVs of the group.
std::uint64_t area_count(const Row& row, const Context& context, bool only_used) {
  std::uint64_t count = 0;
  for (const auto& [uuid, place] : row.group->pvs)
    for (const lvm::MetadataAreaState& area : context.op().disks.pvs()[place].areas)
      count += only_used && area.ignored ? 0 : 1;
  return count;
}

template <typename Areas>
std::uint64_t smallest(const Areas& areas, std::uint64_t least) {
  for (const lvm::MetadataAreaState& area : areas)
    least = least == 0 ? area.area.length : std::min(least, area.area.length);
  return least;
}

}  // namespace

std::vector<ReportField> make_vg_fields() {
  constexpr ReportSection kVg = ReportSection::vg;
  return {
      {kVg, "vg_fmt", "Fmt", 3, string, [](const Row&, Context&) -> FieldValue { return "lvm2"; }},
      {kVg, "vg_uuid", "VG UUID", 38, string,
       [](const Row& row, Context&) -> FieldValue { return row.group->vg.id.dashed(); }},
      {kVg, "vg_name", "VG", 0, string,
       [](const Row& row, Context&) -> FieldValue { return printable(row.group->vg.name); }},
      {kVg, "vg_attr", "Attr", 5, string,
       [](const Row& row, Context&) -> FieldValue { return vg_attributes(*row.group); }},
      {kVg, "vg_permissions", "VPerms", 10, string,
       [](const Row& row, Context&) -> FieldValue {
         return has_word(row.group->vg.status, "WRITE") ? "writeable" : "read-only";
       }},
      {kVg, "vg_extendable", "Extendable", 10, number,
       [](const Row& row, Context&) {
         return yes_no(has_word(row.group->vg.status, "RESIZEABLE"), "extendable");
       }},
      {kVg, "vg_exported", "Exported", 10, number,
       [](const Row& row, Context&) { return yes_no(exported(row), "exported"); }},
      {kVg, "vg_partial", "Partial", 10, number,
       [](const Row& row, Context&) {
         return yes_no(row.group->pvs.size() < row.group->vg.pvs.size(), "partial");
       }},
      {kVg, "vg_allocation_policy", "AllocPol", 10, string,
       [](const Row& row, Context&) -> FieldValue {
         return printable(row.group->vg.allocation_policy.value_or("normal"));
       }},
      {kVg, "vg_size", "VSize", 5, size,
       [](const Row& row, Context& context) {
         return size_value(total_extents(row.group->vg) * row.group->vg.extent_bytes(), context);
       }},
      {kVg, "vg_free", "VFree", 5, size,
       [](const Row& row, Context& context) {
         return size_value(row.group->vg.free_extent_count() * row.group->vg.extent_bytes(), context);
       }},
      {kVg, "vg_sysid", "SYS ID", 6, string,
       [](const Row& row, Context&) -> FieldValue {
         return printable(row.group->vg.system_id.value_or(""));
       }},
      {kVg, "vg_systemid", "System ID", 9, string,
       [](const Row& row, Context&) -> FieldValue {
         return printable(row.group->vg.system_id.value_or(""));
       }},
      {kVg, "vg_lock_type", "LockType", 8, string,
       [](const Row& row, Context&) -> FieldValue {
         return printable(row.group->vg.lock_type.value_or(""));
       }},
      {kVg, "vg_extent_size", "Ext", 3, size,
       [](const Row& row, Context& context) { return size_value(row.group->vg.extent_bytes(), context); }},
      {kVg, "vg_extent_count", "#Ext", 4, number,
       [](const Row& row, Context&) { return FieldValue::count(total_extents(row.group->vg)); }},
      {kVg, "vg_free_count", "Free", 4, number,
       [](const Row& row, Context&) { return FieldValue::count(row.group->vg.free_extent_count()); }},
      {kVg, "max_lv", "MaxLV", 5, number,
       [](const Row& row, Context&) { return FieldValue::count(row.group->vg.max_lv); }},
      {kVg, "max_pv", "MaxPV", 5, number,
       [](const Row& row, Context&) { return FieldValue::count(row.group->vg.max_pv); }},
      {kVg, "pv_count", "#PV", 3, number,
       [](const Row& row, Context&) { return FieldValue::count(row.group->vg.pvs.size()); }},
      {kVg, "vg_missing_pv_count", "#PV Missing", 11, number,
       [](const Row& row, Context&) {
         return FieldValue::count(row.group->vg.pvs.size() - row.group->pvs.size());
       }},
      {kVg, "lv_count", "#LV", 3, number,
       [](const Row& row, Context&) { return FieldValue::count(shown_lv_count(row.group->vg)); }},
      {kVg, "snap_count", "#SN", 3, number,
       [](const Row& row, Context&) {
         const auto& vg = row.group->vg;
         return FieldValue::count(
             static_cast<std::uint64_t>(std::count_if(vg.lvs.begin(), vg.lvs.end(), [&](const auto& lv) {
               return vg.snapshot_binding(lv).has_value();
             })));
       }},
      {kVg, "vg_seqno", "Seq", 3, number,
       [](const Row& row, Context&) { return FieldValue::count(row.group->vg.seqno); }},
      {kVg, "vg_tags", "VG Tags", 7, list,
       [](const Row& row, Context&) { return FieldValue::list(row.group->vg.tags); }},
      {kVg, "vg_profile", "VProfile", 8, string, [](const Row&, Context&) -> FieldValue { return {}; }},
      {kVg, "vg_mda_count", "#VMda", 5, number,
       [](const Row& row, Context& context) { return FieldValue::count(area_count(row, context, false)); }},
      {kVg, "vg_mda_used_count", "#VMdaUse", 8, number,
       [](const Row& row, Context& context) { return FieldValue::count(area_count(row, context, true)); }},
      {kVg, "vg_mda_size", "VMdaSize", 9, size,
       [](const Row& row, Context& context) {
         std::uint64_t least = 0;
         for (const auto& [uuid, place] : row.group->pvs)
           least = smallest(context.op().disks.pvs()[place].areas, least);
         return size_value(least, context);
       }},
      {kVg, "vg_mda_copies", "#VMdaCps", 8, number,
       [](const Row& row, Context&) -> FieldValue {
         if (row.group->vg.metadata_copies == 0) return "unmanaged";
         return FieldValue::count(row.group->vg.metadata_copies);
       }},
  };
}

std::vector<ReportField> make_pv_fields() {
  constexpr ReportSection kPv = ReportSection::pv;
  return {
      {kPv, "pv_fmt", "Fmt", 3, string, [](const Row&, Context&) -> FieldValue { return "lvm2"; }},
      {kPv, "pv_uuid", "PV UUID", 38, string,
       [](const Row& row, Context&) -> FieldValue {
         if (row.pv != nullptr) return row.pv->id.dashed();
         return row.found != nullptr ? row.found->label.id.dashed() : "";
       }},
      {kPv, "dev_size", "DevSize", 7, size,
       [](const Row& row, Context& context) {
         return size_value(row.found != nullptr ? row.found->extent.length : 0, context);
       }},
      {kPv, "pv_name", "PV", 10, string,
       [](const Row& row, Context& context) -> FieldValue { return context.pv_name(row); }},
      {kPv, "pv_mda_size", "PMdaSize", 9, size,
       [](const Row& row, Context& context) {
         return size_value(row.found != nullptr ? smallest(row.found->areas, 0) : 0, context);
       }},
      {kPv, "pv_ext_vsn", "PExtVsn", 7, number,
       [](const Row& row, Context&) {
         return FieldValue::count(row.found != nullptr ? row.found->label.extension_version : 0);
       }},
      {kPv, "pe_start", "1st PE", 7, size,
       [](const Row& row, Context& context) {
         return size_value(row.pv != nullptr      ? row.pv->pe_start_sectors * kSector
                           : row.found != nullptr ? row.found->label.data_offset
                                                  : 0,
                           context);
       }},
      {kPv, "pv_size", "PSize", 5, size,
       [](const Row& row, Context& context) { return size_value(pv_bytes(row), context); }},
      {kPv, "pv_free", "PFree", 5, size,
       [](const Row& row, Context& context) { return size_value(pv_bytes(row) - pv_used(row), context); }},
      {kPv, "pv_used", "Used", 4, size,
       [](const Row& row, Context& context) { return size_value(pv_used(row), context); }},
      {kPv, "pv_attr", "Attr", 4, string,
       [](const Row& row, Context&) -> FieldValue { return pv_attributes(row); }},
      {kPv, "pv_allocatable", "Allocatable", 11, number,
       [](const Row& row, Context&) {
         return yes_no(row.pv != nullptr && row.pv->allocatable(), "allocatable");
       }},
      {kPv, "pv_exported", "Exported", 10, number,
       [](const Row& row, Context&) { return yes_no(exported(row), "exported"); }},
      {kPv, "pv_missing", "Missing", 10, number,
       [](const Row& row, Context&) { return yes_no(missing(row), "missing"); }},
      {kPv, "pv_pe_count", "PE", 3, number,
       [](const Row& row, Context&) { return FieldValue::count(row.pv != nullptr ? row.pv->pe_count : 0); }},
      {kPv, "pv_pe_alloc_count", "Alloc", 5, number,
       [](const Row& row, Context&) {
         return FieldValue::count(row.pv != nullptr ? used_extents(row.group->vg, *row.pv) : 0);
       }},
      {kPv, "pv_tags", "PV Tags", 7, list,
       [](const Row& row, Context&) {
         return row.pv != nullptr ? FieldValue::list(row.pv->tags) : FieldValue();
       }},
      {kPv, "pv_mda_count", "#PMda", 5, number,
       [](const Row& row, Context&) {
         return FieldValue::count(row.found != nullptr ? row.found->areas.size() : 0);
       }},
      {kPv, "pv_mda_used_count", "#PMdaUse", 8, number,
       [](const Row& row, Context&) {
         std::uint64_t used = 0;
         if (row.found != nullptr)
           for (const lvm::MetadataAreaState& area : row.found->areas) used += area.ignored ? 0 : 1;
         return FieldValue::count(used);
       }},
      {kPv, "pv_ba_start", "BA Start", 8, size,
       [](const Row& row, Context& context) {
         const bool has = row.found != nullptr && row.found->label.bootloader_area;
         return size_value(has ? row.found->label.bootloader_area->offset : 0, context);
       }},
      {kPv, "pv_ba_size", "BA Size", 7, size,
       [](const Row& row, Context& context) {
         const bool has = row.found != nullptr && row.found->label.bootloader_area;
         return size_value(has ? row.found->label.bootloader_area->length : 0, context);
       }},
      {kPv, "pv_in_use", "PInUse", 6, number,
       [](const Row& row, Context&) {
         return yes_no(row.found != nullptr && row.found->label.in_use, "used");
       }},
      {kPv, "pv_duplicate", "Duplicate", 9, number,
       [](const Row& row, Context&) {
         return yes_no(row.group != nullptr && row.found != nullptr &&
                           row.group->duplicate_pvs.contains(row.found->label.id.plain()),
                       "duplicate");
       }},
  };
}

}  // namespace respaldo::cli
