// What the lvm verbs do to images. Each function is one command of lvm2: it checks, prints lvm2's words
// through the context, and changes the images in an order that may stop anywhere.
//
// Failures are Errors whose message is lvm2's own line (kind usage for what lvm2 calls a bad command line,
// exit 3; else exit 5). The DiskSet must be open exclusively. After each call its groups are the new ones;
// references taken before are gone.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "engine/image/allocation.h"
#include "engine/image/image_engine.h"
#include "engine/image/lvm_units.h"

namespace respaldo::engine {

// The world of one command. References and callbacks outlive the call.
struct OpContext {
  DiskSet& disks;
  std::function<void(std::string_view)> print;    // a line for standard output, without its newline
  std::function<void(std::string_view)> warn;     // a line for standard error
  std::function<bool(std::string_view)> confirm;  // a question; --yes answers it with yes
  std::function<std::int64_t()> now;              // unix seconds
  std::string host;                               // creation_host of what is made
  std::string command;                            // "lvcreate -L 10G vg0", for the metadata's description
  bool test = false;                              // --test: nothing is written
  bool yes = false;
  unsigned force = 0;
  // An activation serves these images; then is_open tells what somebody uses right now, and has_died which snapshots
  // are lost, whatever their stores say.
  bool active = false;
  std::function<bool(const VolumeName&)> is_open, has_died;
  Progress* progress = nullptr;
  std::stop_token stop;
};

// --- Names on the command line

// A disk or partition that is, or may become, a PV: "disk.img", "path/disk.img", "disk.img:1".
struct PvTarget {
  std::size_t disk = 0;
  std::optional<unsigned> partition;
  Extent extent;
  std::string name;
  std::optional<std::size_t> found;  // index into DiskSet::pvs()
};
// Absent when no image has that name; Error(usage) when several have.
std::optional<PvTarget> find_pv_target(const DiskSet& disks, std::string_view name);
// "disk.img:1:0-99:200-" is partition 1 and ":0-99:200-"; "disk.img:1" may be a partition, or an extent of
// "disk.img". No target: no PV has that name.
struct PvArgument {
  std::optional<PvTarget> target;
  std::string_view ranges;  // of the argument
};
PvArgument split_pv_argument(const DiskSet& disks, std::string_view name);
// ":0-99:200-": the extents. Error(usage).
ExtentSet parse_ranges(std::string_view text, std::uint64_t pe_count, std::string_view argument);
// "disk.img:0-99:200-": where extents may come from, in that order; everything allocatable when `names` is
// empty. Error as lvm2's when one is not in the group.
std::vector<PvSpace> pv_space(const OpContext& context, const DiskSet::Group& group,
                              const std::vector<std::string>& names);
// "VG/LV", "/dev/VG/LV", "/dev/mapper/VG-LV".
VolumeName parse_lv_argument(std::string_view text);
// The group, or lvm2's "Volume group "x" not found".
const DiskSet::Group& require_group(const DiskSet& disks, std::string_view name);

// --- Physical volumes

struct PvFormat {
  std::optional<lvm::Uuid> uuid;
  std::optional<std::string> restore_text;  // contents of --restorefile
  std::uint64_t data_alignment = 0;         // bytes; 0: 1 MiB
  std::uint64_t data_alignment_offset = 0;
  std::uint64_t metadata_size = 0;  // bytes; 0: what fits before 1 MiB
  unsigned metadata_copies = 1;     // 0, 1 or 2
  unsigned label_sector = 1;
  std::uint64_t bootloader_size = 0;
  std::optional<std::uint64_t> device_size;  // --setphysicalvolumesize
  bool zero = true;
};
// Where everything lies on a PV of `size` bytes. Pure. Error(refused) when it does not fit.
lvm::PvLabel plan_pv(std::uint64_t size, const PvFormat& format);

void create_pvs(OpContext& context, const std::vector<std::string>& names, const PvFormat& format);
void remove_pvs(OpContext& context, const std::vector<std::string>& names);

struct MoveRequest {
  std::string source;                     // a PV, with ranges
  std::vector<std::string> destinations;  // PVs with ranges; empty: all others of the group
  std::string lv;                         // only this one's extents; empty: all
  AllocationPolicy policy = AllocationPolicy::normal;
};
// Copies piece by piece; each piece counts once the metadata that names its new place is committed.
void move_pv(OpContext& context, const MoveRequest& request);

// --- Volume groups

struct GroupOptions {
  std::uint64_t extent_bytes = 4U << 20;
  std::uint64_t max_lv = 0, max_pv = 0, metadata_copies = 0;
  std::vector<std::string> tags;
  std::optional<std::string> allocation_policy;
  PvFormat pv_format;  // of PVs that are not initialised yet
};
void create_group(OpContext& context, const std::string& name, const std::vector<std::string>& pvs,
                  const GroupOptions& options);
void extend_group(OpContext& context, const std::string& name, const std::vector<std::string>& pvs,
                  const PvFormat& format, bool restore_missing);
void reduce_group(OpContext& context, const std::string& name, const std::vector<std::string>& pvs);
// --all: every PV that holds nothing.
void reduce_group_by_unused(OpContext& context, const std::string& name);
void remove_missing_pvs(OpContext& context, const std::string& name);
void remove_group(OpContext& context, const std::string& name);
// The text that vgcfgbackup writes.
std::string backup_text(const OpContext& context, const DiskSet::Group& group);
void restore_group(OpContext& context, const std::string& name, std::string_view text);
// vgck: says what is wrong; with `update` every copy is written anew and outdated PVs are cleared.
void check_group(OpContext& context, const std::string& name, bool update);

// --- Attributes

struct TagChange {
  std::vector<std::string> add, remove;
  bool empty() const { return add.empty() && remove.empty(); }
};
struct PvChange {
  std::optional<bool> allocatable;
  TagChange tags;
};
// Each PV on its own, as pvchange does; Error(refused) at the end when some were not changed.
void change_pvs(OpContext& context, const std::vector<std::string>& names, const PvChange& change);
struct GroupChange {
  std::optional<std::uint64_t> max_lv, max_pv;  // 0: no limit
  std::optional<bool> resizeable;
  std::optional<std::string> policy;
  TagChange tags;
};
void change_group(OpContext& context, const std::string& name, const GroupChange& change);
void rename_group(OpContext& context, const std::string& from, const std::string& to);
struct LvChange {
  std::optional<bool> writable, activation_skip;
  std::optional<std::string> policy;  // "inherit": the group's
  TagChange tags;
};
void change_lv(OpContext& context, const VolumeName& name, const LvChange& change);

// --- Logical volumes

struct LvRequest {
  std::string vg, name;  // name empty: lvolN
  SizeSpec size;
  unsigned stripes = 1;
  std::uint64_t stripe_bytes = 0;  // 0: 64 KiB
  std::optional<AllocationPolicy> policy;
  std::vector<std::string> pvs, tags;
  bool writable = true;
  bool zero = true;  // the first 4 KiB
  bool wipe_signatures = true;
  bool activation_skip = false;
  std::string type = "striped";  // or "error", "zero"
};
void create_lv(OpContext& context, const LvRequest& request);

struct SnapshotRequest {
  LvRequest store;  // its vg is the origin's
  std::string origin;
  std::uint64_t chunk_bytes = 4096;  // a store larger than can ever be used is made all the same
};
void create_snapshot(OpContext& context, const SnapshotRequest& request);
// lvconvert -s: an LV becomes the store of a snapshot. With `zero` it is emptied, else its exceptions count.
void pair_existing(OpContext& context, const VolumeName& origin, const std::string& store,
                   std::uint64_t chunk_bytes, bool zero);
void split_snapshot(OpContext& context, const VolumeName& snapshot);
// Merges into the origin; goes on with one that was interrupted.
void merge_snapshot(OpContext& context, const VolumeName& snapshot);

struct ResizeRequest {
  VolumeName name;
  SizeSpec size;
  std::optional<unsigned> stripes;
  std::uint64_t stripe_bytes = 0;
  std::optional<AllocationPolicy> policy;
  std::vector<std::string> pvs;
  bool may_extend = true, may_reduce = false;  // lvextend, lvreduce
};
void resize_lv(OpContext& context, const ResizeRequest& request);
void rename_lv(OpContext& context, const VolumeName& from, const std::string& to);
// With its snapshots when it is an origin.
void remove_lv(OpContext& context, const VolumeName& name);

// The most extents that a COW store can ever use.
std::uint64_t cow_maximum_extents(const lvm::VolumeGroup& vg, std::uint64_t origin_extents,
                                  std::uint64_t chunk_bytes);

// Shared by the operations: commits `next` with the command as its description, unless --test.
void commit(OpContext& context, const std::string& vg, lvm::VolumeGroup next);
// Error(refused) unless the group may be changed.
void require_changeable(const DiskSet::Group& group);
// The LV, or lvm2's "Failed to find logical volume".
const lvm::LogicalVolume& require_lv(const DiskSet::Group& group, const std::string& name);
// lvm2's complaint about a name that no new LV, or group, may have.
void require_valid_lv_name(const lvm::VolumeGroup& vg, const std::string& name);
// `kind`: usage (exit 3), or refused (exit 5), as the verb has it.
void require_valid_vg_name(const std::string& name, ErrorKind kind);

}  // namespace respaldo::engine
