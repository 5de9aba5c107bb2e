#include "engine/image/allocation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"

namespace respaldo::engine {

namespace {

constexpr std::array<std::pair<AllocationPolicy, std::string_view>, 4> kPolicyNames{{
    {AllocationPolicy::contiguous, "contiguous"},
    {AllocationPolicy::cling, "cling"},
    {AllocationPolicy::normal, "normal"},
    {AllocationPolicy::anywhere, "anywhere"},
}};

// A free run of one PV.
struct Area {
  std::size_t pv = 0;  // index into the request's space
  std::uint64_t start = 0, count = 0;
};

// What one step takes: one area for each leg, of which `length` extents are used.
struct Step {
  std::vector<Area> legs;
  std::uint64_t length = 0;
};

class Allocator {
 public:
  explicit Allocator(const AllocationRequest& request)
      : request_(request), needed_(request.extents / request.stripes), used_by_leg_(request.stripes) {
    for (std::size_t pv = 0; pv < request.space.size(); ++pv) {
      std::vector<Area> areas;
      for (const Extent& run : request.space[pv].free.extents())
        areas.push_back({pv, run.offset, run.length});
      areas_.push_back(std::move(areas));
      sort(areas_.back());
    }
  }

  // Tries each policy up to the one asked for.
  void run() {
    for (const auto& [policy, name] : kPolicyNames) {
      if (policy > request_.policy || needed_ == 0) return;
      // A contiguous piece is taken once; the others go on while they find something.
      while (needed_ > 0) {
        auto step = next(policy);
        if (!step) break;
        take(*step);
        if (policy == AllocationPolicy::contiguous) break;
      }
    }
  }

  std::uint64_t still_needed() const { return needed_ * request_.stripes; }

  std::vector<lvm::Segment> segments() const {
    std::vector<lvm::Segment> result;
    std::uint64_t start = request_.start;
    for (const Step& step : steps_) {
      lvm::Segment segment;
      segment.start = start;
      segment.count = step.length * request_.stripes;
      segment.type = "striped";
      lvm::StripedSegment body;
      body.stripe_sectors = request_.stripes > 1 ? request_.stripe_sectors : 0;
      for (const Area& area : step.legs) body.areas.push_back({request_.space[area.pv].pv, area.start});
      segment.body = std::move(body);
      start += segment.count;
      if (result.empty() || !join_segments(result.back(), segment)) result.push_back(std::move(segment));
    }
    return result;
  }

 private:
  // Largest first; of equal ones the one that lies first.
  static void sort(std::vector<Area>& areas) {
    std::sort(areas.begin(), areas.end(), [](const Area& a, const Area& b) {
      return a.count != b.count ? a.count > b.count : a.start < b.start;
    });
  }

  // The legs of the LV's last segment, when it has as many as we shall make.
  const lvm::StripedSegment* previous() const {
    if (request_.after == nullptr) return nullptr;
    const auto* body = std::get_if<lvm::StripedSegment>(&request_.after->body);
    return body != nullptr && body->areas.size() == request_.stripes ? body : nullptr;
  }

  std::optional<Step> next(AllocationPolicy policy) const {
    switch (policy) {
      case AllocationPolicy::contiguous:
        return contiguous();
      case AllocationPolicy::cling:
        return cling();
      case AllocationPolicy::normal:
        return spread();
      case AllocationPolicy::anywhere:
        return anywhere();
    }
    return std::nullopt;
  }

  std::optional<Step> contiguous() const {
    std::optional<Step> step;
    if (const auto* before = previous()) {
      step.emplace();
      const std::uint64_t length = request_.after->count / request_.stripes;
      for (const lvm::SegmentArea& leg : before->areas) {
        const Area* area = starting_at(leg.name, leg.extent + length);
        if (area == nullptr) return std::nullopt;
        step->legs.push_back(*area);
      }
    } else {
      step = spread();
    }
    if (!step) return std::nullopt;
    settle(*step);
    if (request_.policy == AllocationPolicy::contiguous && step->length < needed_) return std::nullopt;
    return step;
  }

  // Every leg stays on the PV that it is on already. Legs that share a PV would get one area: `anywhere` cuts it.
  std::optional<Step> cling() const {
    Step step;
    std::vector<bool> taken(areas_.size(), false);
    for (unsigned leg = 0; leg < request_.stripes; ++leg) {
      const Area* area = clinging(leg);
      if (area == nullptr || taken[area->pv]) return std::nullopt;
      taken[area->pv] = true;
      step.legs.push_back(*area);
    }
    settle(step);
    return step;
  }

  // Legs stay where they are if they can; the others go to the largest areas of other PVs.
  std::optional<Step> spread() const {
    std::vector<const Area*> chosen(request_.stripes, nullptr);
    std::vector<bool> taken(areas_.size(), false);
    for (unsigned leg = 0; leg < request_.stripes; ++leg) {
      const Area* area = clinging(leg);
      if (area == nullptr || taken[area->pv]) continue;
      chosen[leg] = area;
      taken[area->pv] = true;
    }
    std::vector<const Area*> candidates;
    for (std::size_t pv = 0; pv < areas_.size(); ++pv)
      if (!taken[pv] && !areas_[pv].empty()) candidates.push_back(best_fit(pv));
    std::stable_sort(candidates.begin(), candidates.end(), [this](const Area* a, const Area* b) {
      return std::min(a->count, needed_) > std::min(b->count, needed_);
    });
    auto candidate = candidates.begin();
    Step step;
    for (const Area* area : chosen) {
      if (area == nullptr) {
        if (candidate == candidates.end()) return std::nullopt;
        area = *candidate++;
      }
      step.legs.push_back(*area);
    }
    settle(step);
    return step;
  }

  // Legs may share a PV: areas are cut as they are handed out.
  std::optional<Step> anywhere() const {
    std::vector<Area> all;
    for (const auto& areas : areas_) all.insert(all.end(), areas.begin(), areas.end());
    // The longest length for which enough pieces can be cut.
    std::uint64_t low = 0, high = needed_;
    while (low < high) {
      const std::uint64_t middle = low + (high - low + 1) / 2;
      std::uint64_t pieces = 0;
      for (const Area& area : all) pieces += area.count / middle;
      (pieces >= request_.stripes ? low : high) = pieces >= request_.stripes ? middle : middle - 1;
    }
    if (low == 0) return std::nullopt;
    Step step;
    step.length = low;
    for (Area area : all) {
      for (; area.count >= low && step.legs.size() < request_.stripes; area.start += low, area.count -= low)
        step.legs.push_back({area.pv, area.start, low});
    }
    return step;
  }

  void settle(Step& step) const {
    step.length = needed_;
    for (const Area& area : step.legs) step.length = std::min(step.length, area.count);
  }

  const Area* starting_at(std::string_view pv, std::uint64_t extent) const {
    for (const auto& areas : areas_)
      for (const Area& area : areas)
        if (area.start == extent && request_.space[area.pv].pv == pv) return &area;
    return nullptr;
  }

  // The largest area on a PV that this leg uses, or null.
  const Area* clinging(unsigned leg) const {
    const auto* before = previous();
    for (std::size_t pv = 0; pv < areas_.size(); ++pv) {
      if (areas_[pv].empty()) continue;
      const bool used =
          (before != nullptr && before->areas[leg].name == request_.space[pv].pv) ||
          std::find(used_by_leg_[leg].begin(), used_by_leg_[leg].end(), pv) != used_by_leg_[leg].end();
      if (used) return &areas_[pv].front();
    }
    return nullptr;
  }

  // The smallest area of the PV that holds all that is needed, else its largest.
  const Area* best_fit(std::size_t pv) const {
    const Area* best = &areas_[pv].front();
    for (const Area& area : areas_[pv]) {
      if (area.count < needed_) break;
      if (area.count < best->count) best = &area;
    }
    return best;
  }

  void take(const Step& step) {
    for (unsigned leg = 0; leg < step.legs.size(); ++leg) {
      const Area& piece = step.legs[leg];
      auto& areas = areas_[piece.pv];
      auto it = std::find_if(areas.begin(), areas.end(), [&](const Area& area) {
        return piece.start >= area.start && piece.start - area.start < area.count;
      });
      // A piece always starts where a free run starts: earlier legs of `anywhere` cut from the front.
      if (it == areas.end() || it->count < step.length)
        throw Error(ErrorKind::internal, fmt::format("{}: two legs were given the same extents", request_.lv));
      it->start += step.length;
      it->count -= step.length;
      if (it->count == 0) areas.erase(it);
      sort(areas);
      auto& used = used_by_leg_[leg];
      if (std::find(used.begin(), used.end(), piece.pv) == used.end()) used.push_back(piece.pv);
    }
    needed_ -= step.length;
    steps_.push_back(step);
  }

  const AllocationRequest& request_;
  std::uint64_t needed_;                               // extents of each leg
  std::vector<std::vector<Area>> areas_;               // by PV, largest first
  std::vector<std::vector<std::size_t>> used_by_leg_;  // PVs that this request gave to each leg
  std::vector<Step> steps_;
};

void require_sane(const AllocationRequest& request) {
  if (request.stripes == 0 || request.extents % request.stripes != 0)
    throw Error(ErrorKind::internal, "an allocation must be a multiple of its stripes");
}

}  // namespace

std::optional<AllocationPolicy> parse_allocation_policy(std::string_view text) {
  for (const auto& [policy, name] : kPolicyNames)
    if (name == text) return policy;
  return std::nullopt;
}

std::string_view to_string(AllocationPolicy policy) {
  for (const auto& [known, name] : kPolicyNames)
    if (known == policy) return name;
  return "normal";
}

std::vector<lvm::Segment> allocate(const AllocationRequest& request) {
  require_sane(request);
  std::uint64_t available = 0;
  for (const PvSpace& space : request.space) available += space.free.total();
  if (available < request.extents)
    throw Error(ErrorKind::no_space,
                fmt::format("Insufficient free space: {} extents needed, but only {} available",
                            request.extents, available));
  Allocator allocator(request);
  allocator.run();
  if (allocator.still_needed() > 0)
    throw Error(
        ErrorKind::no_space,
        fmt::format("Insufficient suitable allocatable extents for logical volume {}: {} more required",
                    request.lv, allocator.still_needed()));
  return allocator.segments();
}

std::vector<lvm::Segment> allocate_at_most(const AllocationRequest& request) {
  require_sane(request);
  Allocator allocator(request);
  allocator.run();
  return allocator.segments();
}

bool join_segments(lvm::Segment& last, const lvm::Segment& next) {
  auto* a = std::get_if<lvm::StripedSegment>(&last.body);
  const auto* b = std::get_if<lvm::StripedSegment>(&next.body);
  if (a == nullptr || b == nullptr || a->areas.size() != b->areas.size() || a->areas.empty() ||
      a->stripe_sectors != b->stripe_sectors || last.type != next.type || last.tags != next.tags ||
      last.extra != next.extra || last.start + last.count != next.start)
    return false;
  const std::uint64_t length = last.count / a->areas.size();
  for (std::size_t leg = 0; leg < a->areas.size(); ++leg)
    if (a->areas[leg].name != b->areas[leg].name || a->areas[leg].extent + length != b->areas[leg].extent)
      return false;
  last.count += next.count;
  return true;
}

}  // namespace respaldo::engine
