#include "engine/kernel/tools/lvm_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "engine/kernel/tools/lvm_report.h"

namespace respaldo::engine {

namespace {

// "[lvol0_pmspare]" is hidden.
std::string without_brackets(const std::string& name, bool& hidden) {
  hidden = name.size() > 2 && name.front() == '[' && name.back() == ']';
  return hidden ? name.substr(1, name.size() - 2) : name;
}

LvRow lv_of(const LvmRow& row) {
  LvRow lv;
  lv.vg = row.text("vg_name");
  lv.vg_uuid = row.text("vg_uuid");
  lv.name = without_brackets(row.text("lv_name"), lv.hidden);
  lv.uuid = row.text("lv_uuid");
  lv.path = row.text("lv_path");
  lv.dm_path = row.text("lv_dm_path");
  lv.attr = row.text("lv_attr");
  lv.segment_type = row.text("segtype");
  lv.layout = row.list("lv_layout");
  lv.role = row.list("lv_role");
  lv.size = row.number_or_zero("lv_size");
  bool ignored = false;
  lv.origin = without_brackets(row.text("origin"), ignored);
  lv.origin_uuid = row.text("origin_uuid");
  lv.origin_size = row.number_or_zero("origin_size");
  lv.chunk_size = row.number_or_zero("chunk_size");
  lv.pool = without_brackets(row.text("pool_lv"), ignored);
  lv.pool_uuid = row.text("pool_lv_uuid");
  lv.data_lv = without_brackets(row.text("data_lv"), ignored);
  lv.metadata_lv = without_brackets(row.text("metadata_lv"), ignored);
  lv.thin_id = row.number("thin_id");
  lv.transaction_id = row.number("transaction_id");
  lv.metadata_size = row.number("lv_metadata_size");
  lv.data_percent_x100 = row.percent_x100("data_percent");
  lv.metadata_percent_x100 = row.percent_x100("metadata_percent");
  lv.copy_percent_x100 = row.percent_x100("copy_percent");
  lv.tags = row.list("lv_tags");
  lv.active = row.text("lv_active");
  lv.health = row.text("lv_health_status");
  lv.open = row.flag("lv_device_open");
  lv.suspended = row.flag("lv_suspended");
  lv.skip_activation = row.flag("lv_skip_activation");
  lv.snapshot_invalid = row.flag("lv_snapshot_invalid");
  lv.merge_failed = row.flag("lv_merge_failed");
  lv.merging = row.flag("lv_merging");
  lv.writable = lv.attr.size() < 2 || lv.attr[1] == 'w';
  lv.kernel_major = row.number("lv_kernel_major");
  lv.kernel_minor = row.number("lv_kernel_minor");
  lv.time = row.text("lv_time");
  lv.host = row.text("lv_host");
  return lv;
}

}  // namespace

bool LvRow::has_tag(std::string_view tag) const { return std::ranges::find(tags, tag) != tags.end(); }

bool LvRow::has_role(std::string_view word) const { return std::ranges::find(role, word) != role.end(); }

std::string lvs_fields() {
  return "vg_name,vg_uuid,lv_name,lv_uuid,lv_path,lv_dm_path,lv_attr,segtype,lv_layout,lv_role,devices,lv_"
         "size,origin,"
         "origin_uuid,origin_size,chunk_size,pool_lv,pool_lv_uuid,data_lv,metadata_lv,thin_id,transaction_id,"
         "lv_metadata_size,data_percent,metadata_percent,copy_percent,lv_tags,lv_active,lv_health_status,"
         "lv_device_open,lv_suspended,lv_skip_activation,lv_snapshot_invalid,lv_merge_failed,lv_merging,"
         "lv_kernel_major,lv_kernel_minor,lv_time,lv_host";
}

std::string vgs_fields() {
  return "vg_name,vg_uuid,vg_attr,vg_systemid,vg_lock_type,vg_size,vg_free,vg_extent_size,vg_extent_count,"
         "vg_free_count,pv_count,vg_missing_pv_count,lv_count,snap_count,vg_seqno,vg_partial,vg_exported,"
         "vg_permissions,vg_tags";
}

std::string pvs_fields() {
  return "pv_name,pv_uuid,vg_name,vg_uuid,pv_attr,pv_fmt,pv_size,pv_free,pv_used,dev_size,pe_start,pv_pe_"
         "count,"
         "pv_pe_alloc_count,pv_major,pv_minor,pv_missing,pv_allocatable,pv_exported,pv_duplicate,pv_tags";
}

std::vector<LvRow> parse_lvs(std::string_view json) {
  std::vector<LvRow> lvs;
  for (const char* kind : {"lv", "seg"}) {
    for (const LvmRow& row : parse_lvm_report(json, kind)) {
      const auto same = [&](const LvRow& one) {
        return one.uuid == row.text("lv_uuid") && one.vg_uuid == row.text("vg_uuid");
      };
      // Segments of one volume come one after another.
      if (lvs.empty() || !same(lvs.back())) lvs.push_back(lv_of(row));
      for (std::string& device : row.list("devices")) lvs.back().devices.push_back(std::move(device));
    }
  }
  return lvs;
}

std::vector<VgRow> parse_vgs(std::string_view json) {
  std::vector<VgRow> vgs;
  for (const LvmRow& row : parse_lvm_report(json, "vg")) {
    VgRow vg;
    vg.name = row.text("vg_name");
    vg.uuid = row.text("vg_uuid");
    vg.attr = row.text("vg_attr");
    vg.system_id = row.text("vg_systemid");
    vg.lock_type = row.text("vg_lock_type");
    vg.size = row.number_or_zero("vg_size");
    vg.free = row.number_or_zero("vg_free");
    vg.extent_size = row.number_or_zero("vg_extent_size");
    vg.extent_count = row.number_or_zero("vg_extent_count");
    vg.free_count = row.number_or_zero("vg_free_count");
    vg.pv_count = row.number_or_zero("pv_count");
    vg.missing_pvs = row.number_or_zero("vg_missing_pv_count");
    vg.lv_count = row.number_or_zero("lv_count");
    vg.snapshot_count = row.number_or_zero("snap_count");
    vg.seqno = row.number_or_zero("vg_seqno");
    vg.partial = row.flag("vg_partial");
    vg.exported = row.flag("vg_exported");
    vg.writable = row.text("vg_permissions") != "read-only";
    vg.tags = row.list("vg_tags");
    vgs.push_back(std::move(vg));
  }
  return vgs;
}

std::vector<PvRow> parse_pvs(std::string_view json) {
  std::vector<PvRow> pvs;
  for (const LvmRow& row : parse_lvm_report(json, "pv")) {
    PvRow pv;
    pv.name = row.text("pv_name");
    pv.uuid = row.text("pv_uuid");
    pv.vg = row.text("vg_name");
    pv.vg_uuid = row.text("vg_uuid");
    pv.attr = row.text("pv_attr");
    pv.format = row.text("pv_fmt");
    pv.size = row.number_or_zero("pv_size");
    pv.free = row.number_or_zero("pv_free");
    pv.used = row.number_or_zero("pv_used");
    pv.device_size = row.number_or_zero("dev_size");
    pv.data_start = row.number_or_zero("pe_start");
    pv.extent_count = row.number_or_zero("pv_pe_count");
    pv.used_extents = row.number_or_zero("pv_pe_alloc_count");
    pv.kernel_major = row.number_or_zero("pv_major");
    pv.kernel_minor = row.number_or_zero("pv_minor");
    pv.missing = row.flag("pv_missing");
    pv.allocatable = row.flag("pv_allocatable");
    pv.exported = row.flag("pv_exported");
    pv.duplicate = row.flag("pv_duplicate");
    pv.tags = row.list("pv_tags");
    pvs.push_back(std::move(pv));
  }
  return pvs;
}

void require_changeable(const VgRow& vg, const std::string& hint) {
  if (!vg.exported && vg.writable && !vg.partial) return;
  throw Error(ErrorKind::refused,
              fmt::format("volume group {} cannot be changed: it is {}", printable(vg.name),
                          vg.exported  ? "exported"
                          : vg.partial ? "incomplete, physical volumes are missing"
                                       : "read-only"),
              hint);
}

}  // namespace respaldo::engine
