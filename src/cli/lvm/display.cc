#include "cli/lvm/display.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"
#include "base/units.h"

namespace respaldo::cli {

namespace {

using engine::SizeSuffix;

std::string size(std::uint64_t bytes, const engine::SizeUnits& units) {
  return display_size(bytes, SizeSuffix::full, units);
}

std::string lv_path(const lvm::VolumeGroup& vg, const lvm::LogicalVolume& lv) {
  return printable("/dev/" + vg.name + "/" + lv.name);
}

bool open(const ReportContext& context, const lvm::VolumeGroup& vg, const lvm::LogicalVolume& lv) {
  const engine::OpContext& op = context.op();
  return op.active && op.is_open && op.is_open({vg.name, lv.name});
}

std::uint64_t open_count(const ReportContext& context, const lvm::VolumeGroup& vg) {
  return static_cast<std::uint64_t>(std::count_if(
      vg.lvs.begin(), vg.lvs.end(), [&](const lvm::LogicalVolume& lv) { return open(context, vg, lv); }));
}

// What thin volumes, pools and mirrors add.
std::vector<std::pair<std::string_view, std::string>> type_lines(const lvm::LogicalVolume& lv) {
  if (lv.segments.empty()) return {};
  const auto& body = lv.segments.front().body;
  if (const auto* thin = std::get_if<lvm::ThinSegment>(&body)) {
    if (thin->origin)
      return {{"LV Pool name", printable(thin->pool)}, {"LV Thin origin name", printable(*thin->origin)}};
    return {{"LV Pool name", printable(thin->pool)}};
  }
  if (const auto* pool = std::get_if<lvm::ThinPoolSegment>(&body))
    return {{"LV Pool metadata", printable(pool->metadata)}, {"LV Pool data", printable(pool->data)}};
  return {};
}

std::string leg_lines(const SegmentLeg& leg, std::string_view indent) {
  return fmt::format("{}{} volume\t{}\n{}{} extents\t{} to {}\n", indent, leg.on_pv ? "Physical" : "Logical",
                     leg.name, indent, leg.on_pv ? "Physical" : "Logical", leg.first,
                     leg.first + leg.count - 1);
}

}  // namespace

std::string display_vg(const engine::DiskSet::Group& group, ReportContext& context,
                       const engine::SizeUnits& units) {
  const lvm::VolumeGroup& vg = group.vg;
  std::uint64_t areas = 0;
  for (const auto& [uuid, place] : group.pvs) areas += context.op().disks.pvs()[place].areas.size();
  const std::uint64_t total = total_extents(vg), free = vg.free_extent_count(), extent = vg.extent_bytes();
  std::string out = "  --- Volume group ---\n";
  const auto line = [&](std::string_view name, const std::string& value) {
    out += fmt::format("  {:<22}{}\n", name, value);
  };
  line("VG Name", printable(vg.name));
  line("System ID", vg.system_id ? printable(*vg.system_id) : "");
  line("Format", "lvm2");
  line("Metadata Areas", std::to_string(areas));
  line("Metadata Sequence No", std::to_string(vg.seqno));
  line("VG Access", has_word(vg.status, "WRITE") ? "read/write" : "read");
  line("VG Status", fmt::format("{}{}", has_word(vg.status, "EXPORTED") ? "exported/" : "",
                                has_word(vg.status, "RESIZEABLE") ? "resizable" : "NOT resizable"));
  line("MAX LV", std::to_string(vg.max_lv));
  line("Cur LV", std::to_string(shown_lv_count(vg)));
  line("Open LV", std::to_string(open_count(context, vg)));
  line("Max PV", std::to_string(vg.max_pv));
  line("Cur PV", std::to_string(vg.pvs.size()));
  line("Act PV", std::to_string(group.pvs.size()));
  line("VG Size", size(total * extent, units));
  line("PE Size", size(extent, units));
  line("Total PE", std::to_string(total));
  line("Alloc PE / Size", fmt::format("{} / {}", total - free, size((total - free) * extent, units)));
  line("Free  PE / Size", fmt::format("{} / {}", free, size(free * extent, units)));
  line("VG UUID", vg.id.dashed());
  return out + "   \n";
}

std::string display_vg_short(const engine::DiskSet::Group& group, const engine::SizeUnits& units) {
  const lvm::VolumeGroup& vg = group.vg;
  const std::uint64_t total = total_extents(vg), free = vg.free_extent_count(), extent = vg.extent_bytes();
  return fmt::format("  \"{}\" {:<9} [{:<9} used / {} free]", printable(vg.name), size(total * extent, units),
                     size((total - free) * extent, units), size(free * extent, units));
}

std::string display_vg_colons(const engine::DiskSet::Group& group) {
  const lvm::VolumeGroup& vg = group.vg;
  const bool writable = has_word(vg.status, "WRITE");
  // The status word as lvm2 keeps it in memory.
  const unsigned status = (has_word(vg.status, "EXPORTED") ? 2U : 0U) |
                          (has_word(vg.status, "RESIZEABLE") ? 4U : 0U) | 0x100U | (writable ? 0x200U : 0U);
  const std::uint64_t total = total_extents(vg), free = vg.free_extent_count(), extent = vg.extent_bytes();
  return fmt::format("  {}:{}:{}:-1:{}:{}:0:-1:{}:{}:{}:{}:{}:{}:{}:{}:{}", printable(vg.name),
                     writable ? "r/w" : "r", status, vg.max_lv, shown_lv_count(vg), vg.max_pv, vg.pvs.size(),
                     group.pvs.size(), total * extent / kKiB, extent / kKiB, total, total - free, free,
                     vg.id.dashed());
}

std::string display_lv(const ReportRow& row, ReportContext& context, const engine::SizeUnits& units) {
  const lvm::VolumeGroup& vg = row.group->vg;
  const lvm::LogicalVolume& lv = *row.lv;
  const auto binding = vg.snapshot_binding(lv);
  const auto snapshots = vg.snapshots_of(lv);
  const bool active = context.op().active;
  const auto status = binding ? context.cow(*row.group, lv) : std::nullopt;
  std::string out = "  --- Logical volume ---\n";
  const auto line = [&](std::string_view name, const std::string& value) {
    out += fmt::format("  {:<23}{}\n", name, value);
  };
  if (lv.visible() || binding) {
    line("LV Path", lv_path(vg, lv));
    line("LV Name", printable(lv.name));
  } else {
    line("Internal LV Name", printable(lv.name));
  }
  line("VG Name", printable(vg.name));
  line("LV UUID", lv.id.dashed());
  line("LV Write Access", lv.writable() ? "read/write" : "read only");
  line("LV Creation host, time", fmt::format("{}, {}", printable(lv.creation_host), lv_time_text(lv)));
  for (std::size_t i = 0; i < snapshots.size(); ++i) {
    if (i == 0) line("LV snapshot status", "source of");
    const auto one = context.cow(*row.group, *snapshots[i].cow);
    line("", fmt::format("{} [{}]", printable(snapshots[i].cow->name),
                         one && one->valid ? "active" : "INACTIVE"));
  }
  if (binding)
    line("LV snapshot status",
         fmt::format("{} destination for {}", status && status->valid ? "active" : "INACTIVE",
                     printable(binding->origin->name)));
  for (const auto& [name, value] : type_lines(lv)) line(name, value);
  line("LV Status", active ? "available" : "NOT available");
  if (active) line("# open", open(context, vg, lv) ? "1" : "0");
  const std::uint64_t extents = binding ? binding->virtual_extents : lv.extents();
  line("LV Size", size(extents * vg.extent_bytes(), units));
  line("Current LE", std::to_string(extents));
  if (binding) {
    line("COW-table size", size(lv.extents() * vg.extent_bytes(), units));
    line("COW-table LE", std::to_string(lv.extents()));
    if (status)
      line("Allocated to snapshot",
           fmt::format("{}.{:02}%", status->percent_x100() / 100, status->percent_x100() % 100));
    line("Snapshot chunk size", size(binding->chunk_sectors * kSector, units));
  }
  if (!lv.segments.empty())
    if (const auto* mirror = std::get_if<lvm::MirrorSegment>(&lv.segments.front().body))
      line("Mirrored volumes", std::to_string(mirror->areas.size()));
  line("Segments", std::to_string(lv.segments.size()));
  line("Allocation", printable(lv.allocation_policy.value_or("inherit")));
  line("Read ahead sectors", "auto");
  return out + "   \n";
}

std::string display_lv_colons(const ReportRow& row, const ReportContext& context) {
  const lvm::VolumeGroup& vg = row.group->vg;
  const lvm::LogicalVolume& lv = *row.lv;
  return fmt::format("  {}:{}:{}:{}:-1:{}:{}:{}:-1:0:-1:-1:-1", lv_path(vg, lv), printable(vg.name),
                     lv.writable() ? 3 : 1, context.op().active ? 1 : 0, open(context, vg, lv) ? 1 : 0,
                     lv.extents() * vg.extent_sectors, lv.extents());
}

std::string display_lv_segments(const ReportRow& row, ReportContext& context,
                                const engine::SizeUnits& units) {
  std::string out = "  --- Segments ---\n";
  for (const lvm::Segment& segment : row.lv->segments) {
    const bool is_virtual = std::holds_alternative<lvm::ZeroSegment>(segment.body) ||
                            std::holds_alternative<lvm::ErrorSegment>(segment.body);
    out += fmt::format("  {} extents {} to {}:\n    Type\t\t{}\n", is_virtual ? "Virtual" : "Logical",
                       segment.start, segment.start + segment.count - 1, segment_type(segment));
    const auto legs = segment_legs(*row.group, segment, context);
    if (legs.size() == 1) {
      out += leg_lines(legs.front(), "    ");
    } else if (!legs.empty()) {
      const bool mirror = std::holds_alternative<lvm::MirrorSegment>(segment.body);
      out += fmt::format("    {}\t\t{}\n", mirror ? "Mirrors" : "Stripes", legs.size());
      if (!mirror) out += fmt::format("    Stripe size\t\t{}\n", size(stripe_bytes(segment), units));
      for (std::size_t i = 0; i < legs.size(); ++i)
        out += fmt::format("    {} {}:\n{}", mirror ? "Mirror" : "Stripe", i, leg_lines(legs[i], "      "));
    }
    if (!is_virtual) out += "   \n";
  }
  return out + "   \n";
}

std::string display_pv(const ReportRow& row, ReportContext& context, const engine::SizeUnits& units,
                       bool maps) {
  std::string out;
  const auto line = [&](std::string_view name, const std::string& value) {
    out += fmt::format("  {:<22}{}\n", name, value);
  };
  if (row.pv == nullptr || row.group == nullptr) {
    const std::string whole = size(row.found->label.device_size, units);
    out = fmt::format("  \"{}\" is a new physical volume of \"{}\"\n  --- NEW Physical volume ---\n",
                      context.pv_name(row), whole);
    line("PV Name", context.pv_name(row));
    line("VG Name", "");
    line("PV Size", whole);
    line("Allocatable", "NO");
    line("PE Size", "0   ");
    line("Total PE", "0");
    line("Free PE", "0");
    line("Allocated PE", "0");
    line("PV UUID", row.found->label.id.dashed());
    return out + "   \n";
  }
  const lvm::VolumeGroup& vg = row.group->vg;
  const std::uint64_t extent = vg.extent_bytes(), used = engine::used_extents(vg, *row.pv);
  const std::uint64_t device = row.pv->dev_size_sectors * kSector, data = row.pv->pe_count * extent;
  // lvm2 counts what lies ahead of the extents as lost only when something behind them is.
  const std::uint64_t lost = device > data + row.pv->pe_start_sectors * kSector ? device - data : 0;
  const bool full = used == row.pv->pe_count;
  out = "  --- Physical volume ---\n";
  line("PV Name", context.pv_name(row));
  line("VG Name",
       fmt::format("{}{}", printable(vg.name), has_word(vg.status, "EXPORTED") ? " (exported)" : ""));
  line("PV Size", fmt::format("{} / not usable {}", size(device, units), size(lost, units)));
  line("Allocatable", !row.pv->allocatable() ? "NO" : full ? "yes (but full)" : "yes ");
  line("PE Size", size(extent, units));
  line("Total PE", std::to_string(row.pv->pe_count));
  line("Free PE", std::to_string(row.pv->pe_count - used));
  line("Allocated PE", std::to_string(used));
  line("PV UUID", row.pv->id.dashed());
  out += "   \n";
  if (!maps) return out;
  out += "  --- Physical Segments ---\n";
  for (const engine::PvSegment& segment : engine::pv_segments(vg, *row.pv)) {
    out += fmt::format("  Physical extent {} to {}:\n", segment.start, segment.start + segment.count - 1);
    if (segment.lv == nullptr) {
      out += "    FREE\n";
      continue;
    }
    const lvm::Segment& of_lv = segment.lv->segments[segment.segment];
    out += fmt::format("    Logical volume\t{}\n    Logical extents\t{} to {}\n", lv_path(vg, *segment.lv),
                       of_lv.start, of_lv.start + of_lv.count - 1);
  }
  return out + "   \n";
}

std::string display_pv_colons(const ReportRow& row, const ReportContext& context) {
  const bool in_group = row.pv != nullptr && row.group != nullptr;
  const std::uint64_t sectors =
      (in_group ? row.pv->dev_size_sectors : row.found->label.device_size / kSector);
  const std::uint64_t used = in_group ? engine::used_extents(row.group->vg, *row.pv) : 0;
  const std::uint64_t count = in_group ? row.pv->pe_count : 0;
  std::string out;
  if (!in_group)
    out = fmt::format("  \"{}\" is a new physical volume of \"{}\"\n", context.pv_name(row),
                      size(row.found->label.device_size, {}));
  return out + fmt::format("  {}:{}:{}:-1:{}:-1:{}:{}:{}:{}:{}\n", context.pv_name(row),
                           in_group ? printable(row.group->vg.name) : "", sectors, in_group ? "8:8" : "0:0",
                           in_group ? row.group->vg.extent_bytes() / kKiB : 0, count, count - used, used,
                           row.found->label.id.dashed());
}

std::string display_pv_short(const ReportRow& row, const ReportContext& context,
                             const engine::SizeUnits& units) {
  const bool in_group = row.pv != nullptr && row.group != nullptr;
  const std::uint64_t free = in_group ? (row.pv->pe_count - engine::used_extents(row.group->vg, *row.pv)) *
                                            row.group->vg.extent_bytes()
                                      : row.found->label.device_size;
  return fmt::format("  Device \"{}\" has a capacity of {}", context.pv_name(row), size(free, units));
}

std::string display_pv_of_group(const engine::DiskSet::Group& group, const lvm::PhysicalVolume& pv,
                                const ReportContext& context) {
  return fmt::format("  {:<22}{}\n  {:<22}{}\n  {:<22}{}\n  {:<22}{} / {}\n   \n", "PV Name",
                     context.pv_name(group, pv.key), "PV UUID", pv.id.dashed(), "PV Status",
                     pv.allocatable() ? "allocatable" : "NOT allocatable", "Total PE / Free PE", pv.pe_count,
                     pv.pe_count - engine::used_extents(group.vg, pv));
}

}  // namespace respaldo::cli
