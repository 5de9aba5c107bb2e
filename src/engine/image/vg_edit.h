// Changes to a volume group as a value: what the lvm verbs do to the metadata text. Pure; the caller commits.
//
// Every function leaves the group unchanged when it throws. Whatever the model does not understand is kept,
// and an edit that would have to understand it is Error(unsupported).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/image/allocation.h"
#include "lvm/volume_group.h"

namespace respaldo::engine {

struct NewLv {
  std::string name;
  std::vector<lvm::Segment> segments;
  std::vector<std::string> tags;
  std::optional<std::string> allocation_policy;  // absent: inherited from the group
  bool visible = true, writable = true;
  std::int64_t now = 0;  // unix seconds
  std::string host;
};
// Adds an LV with a fresh UUID and returns it. Error(refused) when the name is taken or not a name.
lvm::LogicalVolume& add_lv(lvm::VolumeGroup& vg, NewLv lv);

// "lvol0", "snapshot3": the lowest number that no LV has.
std::string free_lv_name(const lvm::VolumeGroup& vg, std::string_view prefix);
// "pv2".
std::string free_pv_key(const lvm::VolumeGroup& vg);

// Throws Error(refused) with lvm2's words unless `name` may be given to a new LV of the group.
void require_new_lv_name(const lvm::VolumeGroup& vg, const std::string& name);

// Makes `cow` the COW store of `origin`: the store is hidden, the pseudo-LV "snapshotN" added.
void pair_snapshot(lvm::VolumeGroup& vg, const std::string& origin, const std::string& cow,
                   std::uint64_t chunk_sectors, std::int64_t now, const std::string& host);
// Says that the store is being merged into its origin.
void mark_merging(lvm::VolumeGroup& vg, const std::string& cow);
// Takes the pseudo-LV away; the store becomes an ordinary visible LV again.
void split_snapshot(lvm::VolumeGroup& vg, const std::string& cow);

// Appends segments (as allocate() made them), joining what continues.
void append_segments(lvm::LogicalVolume& lv, std::vector<lvm::Segment> segments);
// Cuts the LV to `extents`, which must be in [1, its size). Striped segments are cut on whole rows:
// `extents` is rounded up to one. Error(unsupported) for other types.
void truncate_lv(lvm::LogicalVolume& lv, std::uint64_t extents);

// Renames an LV everywhere it is named; sub-LVs ("x_rimage_0") follow.
void rename_lv(lvm::VolumeGroup& vg, const std::string& from, const std::string& to);

// What lvremove of `name` takes away, in the order in which lvm2 does it: the snapshots of an origin first,
// then the LV. Sub-LVs of mirrors, RAID and pools are not listed but go too. Error(unsupported) for types
// whose removal needs more than the text (a thin volume out of a pool that stays).
std::vector<std::string> removal_order(const lvm::VolumeGroup& vg, const std::string& name);
// Removes one LV of that order: with its pseudo-LV when it is a store, and with its sub-LVs.
void remove_lv(lvm::VolumeGroup& vg, const std::string& name);

// A stretch of a PV, used by an LV or free.
struct PvSegment {
  std::uint64_t start = 0, count = 0;      // extents of the PV
  const lvm::LogicalVolume* lv = nullptr;  // null: free
  std::size_t segment = 0, leg = 0;        // of the LV
};
// The whole PV in order. Pointers into vg.
std::vector<PvSegment> pv_segments(const lvm::VolumeGroup& vg, const lvm::PhysicalVolume& pv);
std::uint64_t used_extents(const lvm::VolumeGroup& vg, const lvm::PhysicalVolume& pv);

// The free extents of every PV that may be allocated from, in the group's order. PVs that a segment of an
// unknown type names are left alone.
std::vector<PvSpace> allocatable_space(const lvm::VolumeGroup& vg);

// Moves extents [start, start + count) of PV `from` that one leg of one LV uses to `to_start` of PV `to`: the
// segment is cut where needed and what continues is joined. Nothing else changes.
struct ExtentMove {
  std::string lv;
  std::string from, to;  // PV keys
  std::uint64_t start = 0, to_start = 0, count = 0;
};
void move_extents(lvm::VolumeGroup& vg, const ExtentMove& move);

// Calls `visit` for each name of an LV in the segment (sub-LVs, origin, store, pool).
void for_each_lv_reference(const lvm::VolumeGroup& vg, lvm::Segment& segment,
                           const std::function<void(std::string&)>& visit);
// LVs with a segment that names `lv`.
std::vector<std::string> referring_lvs(const lvm::VolumeGroup& vg, std::string_view lv);
// True when some value below the section is that text.
bool mentions(const lvm::ConfigSection& section, std::string_view name);
// Every segment is linear or striped over PVs, or error, or zero.
bool is_plain(const lvm::VolumeGroup& vg, const lvm::LogicalVolume& lv);
// The pseudo-LV "snapshotN" itself.
bool is_snapshot_pseudo(const lvm::LogicalVolume& lv);

}  // namespace respaldo::engine
