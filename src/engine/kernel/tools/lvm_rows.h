// What lvs, vgs and pvs report, as values. One struct and one parser for each; the fields that a struct needs
// are what its *_fields() names. Sizes are bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace respaldo::engine {

// A logical volume, hidden ones included (`lvs -a`). Segments of one volume are joined.
struct LvRow {
  std::string vg, vg_uuid, name, uuid;  // name without the brackets of hidden volumes
  bool hidden = false;
  std::string path, dm_path;  // "/dev/vg0/root", "/dev/mapper/vg0-root"; path is empty for hidden volumes
  std::string attr;           // lv_attr, ten characters
  std::string segment_type;   // of the first segment: "linear", "thin", "thin-pool", "raid1", "cache"...
  std::vector<std::string> layout, role;
  std::vector<std::string> devices;  // "/dev/sda1(0)", "pool_tdata(0)", of all segments
  std::uint64_t size = 0;            // of a thick snapshot: its COW store
  std::string origin, origin_uuid;   // of snapshots, thick and thin
  std::uint64_t origin_size = 0;     // what a thick snapshot shows
  std::uint64_t chunk_size = 0;      // of the COW store, or the pool
  std::string pool, pool_uuid, data_lv, metadata_lv;
  std::optional<std::uint64_t> thin_id, transaction_id, metadata_size;
  std::optional<std::uint32_t> data_percent_x100, metadata_percent_x100, copy_percent_x100;
  std::vector<std::string> tags;
  std::string active, health;  // "active", ""; "partial", "refresh needed", ...
  bool open = false, suspended = false, skip_activation = false, snapshot_invalid = false,
       merge_failed = false, merging = false, writable = true;
  std::optional<std::uint64_t> kernel_major, kernel_minor;
  std::string time, host;  // when and where it was made, as lvm2 prints it

  bool is_active() const { return active.starts_with("active"); }
  bool has_role(std::string_view word) const;
  // Something that users work with: no part of another volume, and no pool.
  bool is_public() const { return has_role("public"); }
  bool is_snapshot() const { return has_role("snapshot"); }  // thick or thin
  bool is_thick_snapshot() const { return attr.starts_with('s') || attr.starts_with('S'); }
  bool is_thin_volume() const { return segment_type == "thin"; }
  bool is_pool() const { return segment_type == "thin-pool" || segment_type == "cache-pool"; }
  bool has_tag(std::string_view tag) const;
  std::string str() const { return vg + "/" + name; }
};

struct VgRow {
  std::string name, uuid, attr, system_id, lock_type;
  std::uint64_t size = 0, free = 0, extent_size = 0, extent_count = 0, free_count = 0, pv_count = 0,
                missing_pvs = 0, lv_count = 0, snapshot_count = 0, seqno = 0;
  bool partial = false, exported = false, writable = true;
  std::vector<std::string> tags;
};

struct PvRow {
  std::string name, uuid, vg, vg_uuid, attr, format;  // vg is empty for a PV without a group
  std::uint64_t size = 0, free = 0, used = 0, device_size = 0, data_start = 0, extent_count = 0,
                used_extents = 0;
  std::uint64_t kernel_major = 0, kernel_minor = 0;
  bool missing = false, allocatable = false, exported = false, duplicate = false;
  std::vector<std::string> tags;
};

// Error(refused) when the group is exported, incomplete or read-only.
void require_changeable(const VgRow& vg, const std::string& hint = "see `vgs`");

// The argument of -o.
std::string lvs_fields();
std::string vgs_fields();
std::string pvs_fields();
// Error(corrupt) when the text is no such report.
std::vector<LvRow> parse_lvs(std::string_view json);
std::vector<VgRow> parse_vgs(std::string_view json);
std::vector<PvRow> parse_pvs(std::string_view json);

}  // namespace respaldo::engine
