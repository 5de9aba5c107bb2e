// Which extents of which PVs a new or growing LV gets. Pure: nothing is read or written.
//
// Behaviour of lvm2 2.03.16, as found by comparing layouts: docs/formats/lvm2-allocation.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/extent.h"
#include "lvm/volume_group.h"

namespace respaldo::engine {

// From the strictest to the most liberal: each is tried, up to the one that was asked for.
enum class AllocationPolicy { contiguous, cling, normal, anywhere };
std::optional<AllocationPolicy> parse_allocation_policy(std::string_view text);
std::string_view to_string(AllocationPolicy policy);

// What may be used on one PV, in extents of that PV.
struct PvSpace {
  std::string pv;  // key in the group: "pv0"
  ExtentSet free;
};

struct AllocationRequest {
  std::string lv;                    // for messages
  std::uint64_t extents = 0;         // logical; rounded by the caller to a multiple of stripes
  unsigned stripes = 1;              // legs, on distinct PVs unless the policy is anywhere
  std::uint64_t stripe_sectors = 0;  // 0 for one leg
  AllocationPolicy policy = AllocationPolicy::normal;
  std::vector<PvSpace> space;           // in order of preference
  const lvm::Segment* after = nullptr;  // the last segment of an LV that grows
  std::uint64_t start = 0;              // logical extent at which the new segments begin
};

// The segments to append, adjacent ones joined. Error(no_space) with lvm2's words when they cannot be found.
std::vector<lvm::Segment> allocate(const AllocationRequest& request);

// As allocate(), but takes as many whole rows as there are, at most request.extents (-l 100%FREE with
// stripes).
std::vector<lvm::Segment> allocate_at_most(const AllocationRequest& request);

// Joins `next` to `last` when it continues every leg and the LV itself.
bool join_segments(lvm::Segment& last, const lvm::Segment& next);

}  // namespace respaldo::engine
