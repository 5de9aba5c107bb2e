// What the operations on LVs share. For lvm_ops*.cc only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "engine/image/lvm_ops.h"
#include "engine/image/vg_edit.h"

namespace respaldo::engine {

constexpr std::uint64_t kWipedHead = 128 * kKiB, kWipedTail = 64 * kKiB;

// "VG/LV", printable.
std::string full_name(const std::string& vg, const std::string& lv);

// An amount of extents.
struct Wanted {
  std::uint64_t extents = 0;
  bool at_most = false;  // percents of free space: as much of it as the stripes allow
};
// What a size means here. `origin`: extents of 100%ORIGIN; `now`: of the LV that is resized;
// lvm2 rounds percents down for a new LV, and up when one is resized.
Wanted resolve_size(const lvm::VolumeGroup& vg, const SizeSpec& size, const std::vector<PvSpace>& space,
                    std::uint64_t origin, std::optional<std::uint64_t> now);
// Sectors of a stripe; 0 for one leg. `bytes` 0: lvm2's default. Error(usage).
std::uint64_t stripe_sectors(OpContext& context, const lvm::VolumeGroup& vg, unsigned stripes,
                             std::uint64_t bytes);
// The segments of a new LV, with lvm2's words about rounding.
std::vector<lvm::Segment> find_space(OpContext& context, const DiskSet::Group& group,
                                     const LvRequest& request, std::uint64_t origin_extents);
// Empties the ends of a new LV: its extents are nobody's until the commit, so this is safe at any moment.
// `zero`: the beginning, `wipe`: what a filesystem's signature may lie in.
void wipe_new(OpContext& context, const DiskSet::Group& group, const lvm::VolumeGroup& next,
              const std::string& name, bool zero, bool wipe);
// Adds it to `next`.
void add_new_lv(const OpContext& context, lvm::VolumeGroup& next, const LvRequest& request,
                std::vector<lvm::Segment> segments);
// An LV that users may change: not a part of another one.
const lvm::LogicalVolume& require_user_lv(const DiskSet::Group& group, const std::string& name);
void require_closed(const OpContext& context, const std::string& vg, const std::string& lv);

}  // namespace respaldo::engine
