#include "cli/lvm/display.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/printable.h"
#include "base/units.h"

namespace respaldo::cli {

namespace {

using engine::SizeSuffix;

std::string size(std::uint64_t bytes, const engine::SizeUnits& units) {
  return display_size(bytes, SizeSuffix::full, units);
}

bool shown(const lvm::VolumeGroup& vg, const lvm::LogicalVolume& lv) {
  return (lv.visible() || vg.snapshot_binding(lv)) && !engine::is_snapshot_pseudo(lv);
}

std::string creation(const lvm::LogicalVolume& lv) {
  const std::time_t when = lv.creation_time.value_or(0);
  std::tm broken{};
  ::localtime_r(&when, &broken);
  char text[64] = "";
  if (lv.creation_time) (void)std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &broken);
  return fmt::format("{}, {}", printable(lv.creation_host), text);
}

}  // namespace

std::string display_vg(const engine::DiskSet& disks, const engine::DiskSet::Group& group,
                       const engine::SizeUnits& units) {
  const lvm::VolumeGroup& vg = group.vg;
  std::uint64_t total = 0, areas = 0;
  for (const lvm::PhysicalVolume& pv : vg.pvs) total += pv.pe_count;
  for (const auto& [uuid, place] : group.pvs) areas += disks.pvs()[place].areas.size();
  const std::uint64_t free = vg.free_extent_count(), extent = vg.extent_bytes();
  const auto has = [&](std::string_view word) {
    return std::find(vg.status.begin(), vg.status.end(), word) != vg.status.end();
  };
  std::string out = "  --- Volume group ---\n";
  const auto line = [&](std::string_view name, const std::string& value) {
    out += fmt::format("  {:<22}{}\n", name, value);
  };
  line("VG Name", printable(vg.name));
  line("System ID", vg.system_id ? printable(*vg.system_id) : "");
  line("Format", "lvm2");
  line("Metadata Areas", std::to_string(areas));
  line("Metadata Sequence No", std::to_string(vg.seqno));
  line("VG Access", has("WRITE") ? "read/write" : "read");
  line("VG Status", has("RESIZEABLE") ? "resizable" : "NOT resizable");
  line("MAX LV", std::to_string(vg.max_lv));
  line("Cur LV", std::to_string(std::count_if(vg.lvs.begin(), vg.lvs.end(),
                                              [&](const auto& lv) { return shown(vg, lv); })));
  line("Open LV", "0");
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
  line("LV Path", printable("/dev/" + vg.name + "/" + lv.name));
  line("LV Name", printable(lv.name));
  line("VG Name", printable(vg.name));
  line("LV UUID", lv.id.dashed());
  line("LV Write Access", lv.writable() ? "read/write" : "read only");
  line("LV Creation host, time", creation(lv));
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
  line("LV Status", active ? "available" : "NOT available");
  if (active) line("# open", context.op().is_open && context.op().is_open({vg.name, lv.name}) ? "1" : "0");
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
  line("Segments", std::to_string(lv.segments.size()));
  line("Allocation", lv.allocation_policy ? printable(*lv.allocation_policy) : "inherit");
  line("Read ahead sectors", "auto");
  return out + "   \n";
}

std::string display_pv(const ReportRow& row, ReportContext& context, const engine::SizeUnits& units) {
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
  const std::uint64_t extent = row.group->vg.extent_bytes(),
                      used = engine::used_extents(row.group->vg, *row.pv);
  const std::uint64_t device = row.pv->dev_size_sectors * kSector, data = row.pv->pe_count * extent;
  // lvm2 counts what lies ahead of the extents as lost only when something behind them is.
  const std::uint64_t lost = device > data + row.pv->pe_start_sectors * kSector ? device - data : 0;
  out = "  --- Physical volume ---\n";
  line("PV Name", context.pv_name(row));
  line("VG Name", printable(row.group->vg.name));
  line("PV Size", fmt::format("{} / not usable {}", size(device, units), size(lost, units)));
  line("Allocatable", row.pv->allocatable() ? (used == row.pv->pe_count ? "yes (but full)" : "yes ") : "NO");
  line("PE Size", size(extent, units));
  line("Total PE", std::to_string(row.pv->pe_count));
  line("Free PE", std::to_string(row.pv->pe_count - used));
  line("Allocated PE", std::to_string(used));
  line("PV UUID", row.pv->id.dashed());
  return out + "   \n";
}

}  // namespace respaldo::cli
