// Verbs that show: reports, display, scans.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "cli/lvm/display.h"
#include "cli/lvm/report.h"
#include "cli/lvm/verb.h"

namespace respaldo::cli {

namespace {

using engine::DiskSet;
using engine::display_size;

enum class LvRows { whole, first_segment, segments };

void add_lv_rows(std::vector<ReportRow>& rows, const DiskSet::Group& group, bool hidden, LvRows style,
                 const std::string& only) {
  for (const lvm::LogicalVolume& lv : group.vg.lvs) {
    if (engine::is_snapshot_pseudo(lv) || (!only.empty() && lv.name != only)) continue;
    if (!hidden && only.empty() && !lv.visible() && !group.vg.snapshot_binding(lv)) continue;
    ReportRow row;
    row.group = &group;
    row.lv = &lv;
    if (style != LvRows::segments) {
      if (!lv.segments.empty()) row.segment = &lv.segments.front();
      rows.push_back(row);
      continue;
    }
    for (const lvm::Segment& segment : lv.segments) {
      row.segment = &segment;
      rows.push_back(row);
    }
  }
}

std::vector<ReportRow> lv_rows(const Call& call, bool hidden, LvRows style) {
  const DiskSet& disks = call.op.disks;
  std::vector<ReportRow> rows;
  if (call.arguments.positional().empty())
    for (const DiskSet::Group& group : disks.groups()) add_lv_rows(rows, group, hidden, style, "");
  for (const std::string& given : call.arguments.positional()) {
    const std::string name = without_dev(given);
    if (name.find('/') == std::string::npos) {
      add_lv_rows(rows, engine::require_group(disks, name), hidden, style, "");
      continue;
    }
    const engine::VolumeName volume = engine::parse_lv_argument(given);
    const DiskSet::Group& group = engine::require_group(disks, volume.vg);
    const std::size_t before = rows.size();
    add_lv_rows(rows, group, true, style, volume.lv);
    if (rows.size() == before)
      throw Error(ErrorKind::not_found,
                  fmt::format("Failed to find logical volume \"{}\"", printable(volume.str())));
  }
  return rows;
}

std::vector<ReportRow> vg_rows(const Call& call) {
  const DiskSet& disks = call.op.disks;
  std::vector<ReportRow> rows;
  const auto add = [&](const DiskSet::Group& group) {
    rows.emplace_back();
    rows.back().group = &group;
  };
  if (call.arguments.positional().empty())
    for (const DiskSet::Group& group : disks.groups()) add(group);
  for (const std::string& name : call.arguments.positional()) add(engine::require_group(disks, name));
  return rows;
}

std::vector<ReportRow> pv_rows(const Call& call) {
  const DiskSet& disks = call.op.disks;
  std::vector<ReportRow> rows;
  std::vector<std::size_t> wanted;
  for (const std::string& name : call.arguments.positional()) {
    const auto target = engine::find_pv_target(disks, name);
    if (!target || !target->found)
      throw Error(ErrorKind::not_found,
                  fmt::format("Failed to find physical volume \"{}\".", printable(name)));
    wanted.push_back(*target->found);
  }
  for (std::size_t p = 0; p < disks.pvs().size(); ++p) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), p) == wanted.end()) continue;
    ReportRow row;
    row.found = &disks.pvs()[p];
    for (const DiskSet::Group& group : disks.groups())
      if (const auto at = group.pvs.find(row.found->label.id.plain());
          at != group.pvs.end() && at->second == p) {
        row.group = &group;
        row.pv = group.vg.find_pv(row.found->label.id);
      }
    rows.push_back(row);
  }
  if (!wanted.empty()) return rows;
  for (const DiskSet::Group& group : disks.groups())
    for (const lvm::PhysicalVolume& pv : group.vg.pvs) {
      if (group.pvs.contains(pv.id.plain())) continue;
      ReportRow row;
      row.group = &group;
      row.pv = &pv;
      rows.push_back(row);
    }
  return rows;
}

// Each PV in its stretches.
std::vector<ReportRow> cut_into_segments(const std::vector<ReportRow>& pvs) {
  std::vector<ReportRow> rows;
  for (const ReportRow& pv : pvs) {
    ReportRow row = pv;
    if (pv.pv == nullptr || pv.group == nullptr) {
      row.pv_segment.emplace();
      rows.push_back(row);
      continue;
    }
    for (const engine::PvSegment& segment : engine::pv_segments(pv.group->vg, *pv.pv)) {
      row.pv_segment = segment;
      row.lv = segment.lv;
      row.segment = segment.lv == nullptr ? nullptr : &segment.lv->segments[segment.segment];
      rows.push_back(row);
    }
  }
  return rows;
}

std::string field_help() {
  std::string out;
  for (const ReportField& field : lvm_report_fields())
    out += fmt::format("  {:<22} {}\n", field.id, field.heading);
  return out;
}

void report(const Call& call, std::string_view kind, std::string_view fields, std::string_view sort) {
  const auto options = call.arguments.values("options");
  if (std::find(options.begin(), options.end(), "help") != options.end() ||
      call.arguments.value("select") == "help") {
    print_block(call.world, field_help());
    return;
  }
  const Report table(kind, fields, sort, call.arguments);
  ReportContext context(call.op, table.units());
  std::vector<ReportRow> rows;
  std::string name(kind);
  const bool lvs = table.needs(ReportSection::lv), segments = table.needs(ReportSection::segment),
             pvs = table.needs(ReportSection::pv), stretches = table.needs(ReportSection::pv_segment);
  if (kind != "pv" && (pvs || stretches) && (lvs || segments || kind == "lv"))
    throw Error(ErrorKind::refused,
                fmt::format("Can't report LV and PV fields at the same time in report type \"{}\".", kind));
  if (kind == "lv" || (kind == "vg" && (lvs || segments))) {
    const bool cut = segments || call.arguments.has("segments");
    rows = lv_rows(call, call.arguments.has("all"), cut ? LvRows::segments : LvRows::first_segment);
    if (call.arguments.has("segments")) name = "seg";
  } else if (kind == "vg" && !pvs && !stretches) {
    rows = vg_rows(call);
  } else if (kind == "vg") {
    for (const ReportRow& vg : vg_rows(call))
      for (const lvm::PhysicalVolume& pv : vg.group->vg.pvs) {
        ReportRow row = vg;
        row.pv = &pv;
        if (const auto at = vg.group->pvs.find(pv.id.plain()); at != vg.group->pvs.end())
          row.found = &call.op.disks.pvs()[at->second];
        rows.push_back(row);
      }
    if (stretches) rows = cut_into_segments(rows);
  } else {
    rows = pv_rows(call);
    if (lvs || segments || stretches || call.arguments.has("segments")) {
      rows = cut_into_segments(rows);
      if (call.arguments.has("segments")) name = "pvseg";
    }
  }
  print_block(call.world, table.render(name, std::move(rows), context));
}

bool verbose(const Call& call) { return call.arguments.has("verbose"); }

}  // namespace

void run_lvs(const Call& call) {
  if (call.arguments.has("segments"))
    return report(call, "lv",
                  verbose(call) ? "lv_name,vg_name,lv_attr,seg_start,seg_size,stripes,segtype,stripe_size,"
                                  "chunk_size"
                                : "lv_name,vg_name,lv_attr,stripes,segtype,seg_size",
                  "vg_name,lv_name,seg_start");
  report(call, "lv",
         verbose(call) ? "lv_name,vg_name,seg_count,lv_attr,lv_size,lv_major,lv_minor,lv_kernel_major,"
                         "lv_kernel_minor,pool_lv,origin,data_percent,metadata_percent,move_pv,copy_percent,"
                         "mirror_log,convert_lv,lv_uuid,lv_profile"
                       : "lv_name,vg_name,lv_attr,lv_size,pool_lv,origin,data_percent,metadata_percent,"
                         "move_pv,mirror_log,copy_percent,convert_lv",
         "vg_name,lv_name");
}

void run_vgs(const Call& call) {
  report(call, "vg",
         verbose(call) ? "vg_name,vg_attr,vg_extent_size,pv_count,lv_count,snap_count,vg_size,vg_free,"
                         "vg_uuid,vg_profile"
                       : "vg_name,pv_count,lv_count,snap_count,vg_attr,vg_size,vg_free",
         "vg_name");
}

void run_pvs(const Call& call) {
  if (call.arguments.has("segments"))
    return report(call, "pv",
                  verbose(call) ? "pv_name,vg_name,pv_fmt,pv_attr,pv_size,pv_free,pvseg_start,pvseg_size,"
                                  "lv_name,seg_start_pe,segtype,seg_pe_ranges"
                                : "pv_name,vg_name,pv_fmt,pv_attr,pv_size,pv_free,pvseg_start,pvseg_size",
                  "pv_name,pvseg_start");
  report(call, "pv",
         verbose(call) ? "pv_name,vg_name,pv_fmt,pv_attr,pv_size,pv_free,dev_size,pv_uuid"
                       : "pv_name,vg_name,pv_fmt,pv_attr,pv_size,pv_free",
         "pv_name");
}

void run_lvdisplay(const Call& call) {
  if (call.arguments.has("columns")) return run_lvs(call);
  const engine::SizeUnits units = units_of(call.arguments);
  ReportContext context(call.op, units);
  for (const ReportRow& row : lv_rows(call, call.arguments.has("all"), LvRows::whole)) {
    if (call.arguments.has("colon")) {
      call.world.print(display_lv_colons(row, context));
      continue;
    }
    print_block(call.world, display_lv(row, context, units));
    if (call.arguments.has("maps")) print_block(call.world, display_lv_segments(row, context, units));
  }
}

void run_vgdisplay(const Call& call) {
  if (call.arguments.has("columns")) return run_vgs(call);
  const engine::SizeUnits units = units_of(call.arguments);
  ReportContext context(call.op, units);
  for (const ReportRow& row : vg_rows(call)) {
    if (call.arguments.has("colon"))
      call.world.print(display_vg_colons(*row.group));
    else if (call.arguments.has("short"))
      call.world.print(display_vg_short(*row.group, units));
    else
      print_block(call.world, display_vg(*row.group, context, units));
    if (!verbose(call) || call.arguments.has("colon") || call.arguments.has("short")) continue;
    std::vector<ReportRow> volumes;
    add_lv_rows(volumes, *row.group, false, LvRows::whole, "");
    for (const ReportRow& volume : volumes) print_block(call.world, display_lv(volume, context, units));
    std::string pvs = "  --- Physical volumes ---\n";
    for (const lvm::PhysicalVolume& pv : row.group->vg.pvs)
      pvs += display_pv_of_group(*row.group, pv, context);
    print_block(call.world, pvs);
  }
}

void run_pvdisplay(const Call& call) {
  if (call.arguments.has("columns")) return run_pvs(call);
  const engine::SizeUnits units = units_of(call.arguments);
  ReportContext context(call.op, units);
  std::vector<ReportRow> rows = pv_rows(call);
  // lvm2 shows the groups' PVs first.
  std::stable_partition(rows.begin(), rows.end(), [](const ReportRow& row) { return row.pv != nullptr; });
  for (const ReportRow& row : rows) {
    if (row.found == nullptr)
      call.world.warn(fmt::format("  WARNING: PV {} of VG {} is missing.", row.pv->id.dashed(),
                                  printable(row.group->vg.name)));
    else if (call.arguments.has("colon"))
      print_block(call.world, display_pv_colons(row, context));
    else if (call.arguments.has("short"))
      call.world.print(display_pv_short(row, context, units));
    else
      print_block(call.world, display_pv(row, context, units, call.arguments.has("maps")));
  }
}

void run_lvscan(const Call& call) {
  for (const ReportRow& row : lv_rows(call, call.arguments.has("all"), LvRows::whole)) {
    const lvm::VolumeGroup& vg = row.group->vg;
    const char* role = vg.snapshot_binding(*row.lv)       ? "Snapshot"
                       : vg.snapshots_of(*row.lv).empty() ? "        "
                                                          : "Original";
    call.world.print(fmt::format("  {} {} '{}' [{}] {}", call.op.active ? "ACTIVE  " : "inactive", role,
                                 printable("/dev/" + vg.name + "/" + row.lv->name),
                                 display_size(vg.lv_bytes(*row.lv)),
                                 printable(row.lv->allocation_policy.value_or("inherit"))));
  }
}

void run_vgscan(const Call& call) {
  for (const DiskSet::Group& group : call.op.disks.groups())
    call.world.print(
        fmt::format("  Found volume group \"{}\" using metadata type lvm2", printable(group.vg.name)));
}

void run_pvscan(const Call& call) {
  const bool only_free = call.arguments.has("novolumegroup"), only_exported = call.arguments.has("exported");
  std::vector<ReportRow> rows = pv_rows(call);
  std::erase_if(rows, [&](const ReportRow& row) {
    return row.found == nullptr || (only_free && row.pv != nullptr) ||
           (only_exported && (row.group == nullptr || !has_word(row.group->vg.status, "EXPORTED")));
  });
  std::stable_partition(rows.begin(), rows.end(), [](const ReportRow& row) { return row.pv != nullptr; });
  const bool uuids = call.arguments.has("uuid");
  const auto shown_name = [&](const ReportRow& row) {
    return uuids ? fmt::format("{} with UUID {}", printable(row.found->name), row.found->label.id.dashed())
                 : printable(row.found->name);
  };
  if (rows.empty()) {
    call.world.print("  No matching physical volumes found");
    return;
  }
  // lvm2 leaves room for its internal name of PVs without group.
  std::size_t pv_width = 0, vg_width = std::string_view("#orphans_lvm2").size();
  for (const ReportRow& row : rows) {
    pv_width = std::max(pv_width, shown_name(row).size());
    if (row.group != nullptr) vg_width = std::max(vg_width, row.group->vg.name.size());
  }
  pv_width += 2;
  vg_width += 2;
  if (only_free) call.world.warn("  WARNING: only considering physical volumes in no volume group");
  if (only_exported)
    call.world.warn("  WARNING: only considering physical volumes of exported volume group(s)");
  std::uint64_t in_use = 0, free = 0, count_in_use = 0, count_free = 0;
  for (const ReportRow& row : rows) {
    std::string line = fmt::format("  PV {:<{}} ", shown_name(row), pv_width);
    if (row.pv == nullptr) {
      ++count_free;
      free += row.found->label.device_size;
      line += fmt::format("   {:<{}} lvm2 [{}]", "", vg_width, display_size(row.found->label.device_size));
    } else {
      const std::uint64_t extent = row.group->vg.extent_bytes(), size = row.pv->pe_count * extent;
      ++count_in_use;
      in_use += size;
      line += fmt::format("VG {:<{}} lvm2 [{} / {} free]", printable(row.group->vg.name), vg_width,
                          display_size(size),
                          display_size(size - engine::used_extents(row.group->vg, *row.pv) * extent));
    }
    if (call.arguments.has("short")) line = fmt::format("  {}", printable(row.found->name));
    call.world.print(line);
  }
  if (call.arguments.has("short")) return;
  call.world.print(fmt::format("  Total: {} [{}] / in use: {} [{}] / in no VG: {} [{}]",
                               count_in_use + count_free, display_size(in_use + free), count_in_use,
                               display_size(in_use), count_free, display_size(free)));
}

}  // namespace respaldo::cli
