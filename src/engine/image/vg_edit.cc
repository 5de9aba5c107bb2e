#include "engine/image/vg_edit.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace respaldo::engine {

using lvm::LogicalVolume;
using lvm::Segment;
using lvm::VolumeGroup;

namespace {

Error unsupported(std::string message, std::string hint = {}) {
  return Error(ErrorKind::unsupported, std::move(message), std::move(hint));
}

LogicalVolume& require_lv(VolumeGroup& vg, std::string_view name) {
  LogicalVolume* lv = vg.find_lv(name);
  if (lv == nullptr)
    throw Error(ErrorKind::not_found, fmt::format("Failed to find logical volume \"{}/{}\"", vg.name, name));
  return *lv;
}

void erase_word(std::vector<std::string>& words, std::string_view word) {
  words.erase(std::remove(words.begin(), words.end(), word), words.end());
}

// True when a segment that we do not understand holds the name as a value.
bool unknown_segments_mention(const VolumeGroup& vg, std::string_view name) {
  for (const LogicalVolume& lv : vg.lvs)
    for (const Segment& segment : lv.segments)
      if (std::holds_alternative<lvm::UnknownSegment>(segment.body) && mentions(segment.extra, name))
        return true;
  return false;
}

void require_understood(const VolumeGroup& vg, const std::string& name) {
  if (unknown_segments_mention(vg, name))
    throw unsupported(
        fmt::format("Logical volume {}/{} belongs to a volume of a type that respaldo does not change",
                    vg.name, name),
        "use lvm2 itself on a host that has these disks");
}

// Hidden LVs that only serve `lv`: images, logs, metadata, pool parts. Depth first, each once.
void collect_sub_lvs(const VolumeGroup& vg, const LogicalVolume& lv, std::set<std::string>& seen,
                     std::vector<std::string>& result) {
  for (const Segment& segment : lv.segments) {
    if (std::holds_alternative<lvm::SnapshotSegment>(segment.body) ||
        std::holds_alternative<lvm::ThinSegment>(segment.body))
      continue;
    Segment copy = segment;
    for_each_lv_reference(vg, copy, [&](std::string& name) {
      const LogicalVolume* sub = vg.find_lv(name);
      if (sub == nullptr || sub->visible() || !seen.insert(name).second) return;
      collect_sub_lvs(vg, *sub, seen, result);
      result.push_back(name);
    });
  }
}

std::vector<std::string> sub_lvs(const VolumeGroup& vg, const LogicalVolume& lv) {
  std::set<std::string> seen{lv.name};
  std::vector<std::string> result;
  collect_sub_lvs(vg, lv, seen, result);
  return result;
}

void erase_lv(VolumeGroup& vg, std::string_view name) {
  std::erase_if(vg.lvs, [&](const LogicalVolume& lv) { return lv.name == name; });
}

void join_all(LogicalVolume& lv) {
  std::vector<Segment> joined;
  for (Segment& segment : lv.segments)
    if (joined.empty() || !join_segments(joined.back(), segment)) joined.push_back(std::move(segment));
  lv.segments = std::move(joined);
}

LogicalVolume& pseudo_of(VolumeGroup& vg, const std::string& cow) {
  const auto binding = vg.snapshot_binding(require_lv(vg, cow));
  if (!binding)
    throw Error(ErrorKind::refused, fmt::format("Logical volume {}/{} is not a snapshot.", vg.name, cow));
  return require_lv(vg, binding->pseudo->name);
}

}  // namespace

bool mentions(const lvm::ConfigSection& section, std::string_view name) {
  const auto is_name = [&](const lvm::ConfigScalar& scalar) {
    const auto* text = std::get_if<std::string>(&scalar);
    return text != nullptr && *text == name;
  };
  for (const lvm::ConfigNode& node : section) {
    if (const auto* scalar = std::get_if<lvm::ConfigScalar>(&node.value)) {
      if (is_name(*scalar)) return true;
    } else if (const auto* array = std::get_if<lvm::ConfigArray>(&node.value)) {
      if (std::any_of(array->begin(), array->end(), is_name)) return true;
    } else if (mentions(*node.section(), name)) {
      return true;
    }
  }
  return false;
}

bool is_snapshot_pseudo(const LogicalVolume& lv) {
  return !lv.segments.empty() && std::holds_alternative<lvm::SnapshotSegment>(lv.segments.front().body);
}

bool is_plain(const VolumeGroup& vg, const LogicalVolume& lv) {
  return std::all_of(lv.segments.begin(), lv.segments.end(), [&](const Segment& segment) {
    if (std::holds_alternative<lvm::ErrorSegment>(segment.body) ||
        std::holds_alternative<lvm::ZeroSegment>(segment.body))
      return true;
    const auto* striped = std::get_if<lvm::StripedSegment>(&segment.body);
    return striped != nullptr &&
           std::all_of(striped->areas.begin(), striped->areas.end(),
                       [&](const lvm::SegmentArea& area) { return vg.find_pv(area.name) != nullptr; });
  });
}

std::string free_lv_name(const VolumeGroup& vg, std::string_view prefix) {
  for (std::uint64_t number = 0;; ++number)
    if (std::string name = fmt::format("{}{}", prefix, number); vg.find_lv(name) == nullptr) return name;
}

std::string free_pv_key(const VolumeGroup& vg) {
  for (std::uint64_t number = 0;; ++number)
    if (std::string key = fmt::format("pv{}", number); vg.find_pv(key) == nullptr) return key;
}

void require_new_lv_name(const VolumeGroup& vg, const std::string& name) {
  if (auto problem = lvm::lv_name_problem(vg.name, name)) throw Error(ErrorKind::usage, *problem);
  if (vg.find_lv(name) != nullptr)
    throw Error(ErrorKind::refused,
                fmt::format("Logical Volume \"{}\" already exists in volume group \"{}\"", name, vg.name));
}

LogicalVolume& add_lv(VolumeGroup& vg, NewLv lv) {
  if (vg.find_lv(lv.name) != nullptr)
    throw Error(ErrorKind::refused,
                fmt::format("Logical Volume \"{}\" already exists in volume group \"{}\"", lv.name, vg.name));
  if (vg.max_lv > 0) {
    const auto count = static_cast<std::uint64_t>(
        std::count_if(vg.lvs.begin(), vg.lvs.end(), [](const LogicalVolume& l) { return l.visible(); }));
    if (lv.visible && count >= vg.max_lv)
      throw Error(ErrorKind::refused,
                  fmt::format("Maximum number of logical volumes ({}) reached in volume group {}", vg.max_lv,
                              vg.name));
  }
  LogicalVolume result;
  result.name = std::move(lv.name);
  result.id = lvm::Uuid::random();
  result.status.push_back("READ");
  if (lv.writable) {
    // A group whose own right to be written stands in `flags` wants the same of its volumes.
    const bool locked = std::find(vg.flags.begin(), vg.flags.end(), "WRITE_LOCKED") != vg.flags.end();
    (locked ? result.flags : result.status).push_back(locked ? "WRITE_LOCKED" : "WRITE");
  }
  if (lv.visible) result.status.push_back("VISIBLE");
  result.tags = std::move(lv.tags);
  result.allocation_policy = std::move(lv.allocation_policy);
  result.creation_time = lv.now;
  result.creation_host = std::move(lv.host);
  result.segments = std::move(lv.segments);
  vg.lvs.push_back(std::move(result));
  return vg.lvs.back();
}

void pair_snapshot(VolumeGroup& vg, const std::string& origin, const std::string& cow,
                   std::uint64_t chunk_sectors, std::int64_t now, const std::string& host) {
  const std::uint64_t extents = require_lv(vg, origin).extents();
  require_lv(vg, cow);
  Segment segment;
  segment.count = extents;
  segment.type = "snapshot";
  segment.body = lvm::SnapshotSegment{origin, cow, false, chunk_sectors};
  NewLv pseudo;
  pseudo.name = free_lv_name(vg, "snapshot");
  pseudo.segments.push_back(std::move(segment));
  pseudo.now = now;
  pseudo.host = host;
  const std::uint64_t limit = std::exchange(vg.max_lv, 0);  // pseudo-LVs do not count
  add_lv(vg, std::move(pseudo));
  vg.max_lv = limit;
  erase_word(require_lv(vg, cow).status, "VISIBLE");
}

void mark_merging(VolumeGroup& vg, const std::string& cow) {
  LogicalVolume& pseudo = pseudo_of(vg, cow);
  std::get<lvm::SnapshotSegment>(pseudo.segments.front().body).merging = true;
  erase_word(pseudo.status, "VISIBLE");
}

void split_snapshot(VolumeGroup& vg, const std::string& cow) {
  const std::string pseudo = pseudo_of(vg, cow).name;
  erase_lv(vg, pseudo);
  LogicalVolume& lv = require_lv(vg, cow);
  if (!lv.visible()) lv.status.push_back("VISIBLE");
}

void append_segments(LogicalVolume& lv, std::vector<Segment> segments) {
  std::uint64_t start = lv.extents();
  for (Segment& segment : segments) {
    segment.start = start;
    start += segment.count;
    if (lv.segments.empty() || !join_segments(lv.segments.back(), segment))
      lv.segments.push_back(std::move(segment));
  }
}

void truncate_lv(LogicalVolume& lv, std::uint64_t extents) {
  if (extents == 0 || extents > lv.extents())
    throw Error(ErrorKind::internal, "a volume can only be cut to a smaller size");
  auto keep = std::find_if(lv.segments.begin(), lv.segments.end(), [&](const Segment& segment) {
    return segment.start < extents && extents - segment.start <= segment.count;
  });
  std::uint64_t count = extents - keep->start;
  if (const auto* striped = std::get_if<lvm::StripedSegment>(&keep->body)) {
    const std::uint64_t legs = std::max<std::uint64_t>(striped->areas.size(), 1);
    count = (count + legs - 1) / legs * legs;
  } else if (!std::holds_alternative<lvm::ErrorSegment>(keep->body) &&
             !std::holds_alternative<lvm::ZeroSegment>(keep->body)) {
    throw unsupported(fmt::format("Unable to reduce logical volume {}: its type is {}", lv.name, keep->type),
                      "use lvm2 itself on a host that has these disks");
  }
  keep->count = count;
  lv.segments.erase(std::next(keep), lv.segments.end());
}

void for_each_lv_reference(const VolumeGroup& vg, Segment& segment,
                           const std::function<void(std::string&)>& visit) {
  const auto areas = [&](std::vector<lvm::SegmentArea>& list) {
    for (lvm::SegmentArea& area : list)
      if (vg.find_pv(area.name) == nullptr) visit(area.name);
  };
  struct Visitor {
    const std::function<void(std::string&)>& visit;
    const std::function<void(std::vector<lvm::SegmentArea>&)>& areas;
    void operator()(lvm::StripedSegment& s) const { areas(s.areas); }
    void operator()(lvm::MirrorSegment& s) const {
      areas(s.areas);
      if (s.log) visit(*s.log);
    }
    void operator()(lvm::RaidSegment& s) const {
      for (std::string& name : s.metadata) visit(name);
      for (std::string& name : s.images) visit(name);
    }
    void operator()(lvm::SnapshotSegment& s) const {
      visit(s.origin);
      visit(s.cow);
    }
    void operator()(lvm::ThinPoolSegment& s) const {
      visit(s.metadata);
      visit(s.data);
    }
    void operator()(lvm::ThinSegment& s) const {
      visit(s.pool);
      if (s.origin) visit(*s.origin);
      if (s.external_origin) visit(*s.external_origin);
    }
    void operator()(lvm::ErrorSegment&) const {}
    void operator()(lvm::ZeroSegment&) const {}
    void operator()(lvm::UnknownSegment&) const {}
  };
  const std::function<void(std::vector<lvm::SegmentArea>&)> each_area = areas;
  std::visit(Visitor{visit, each_area}, segment.body);
}

std::vector<std::string> referring_lvs(const VolumeGroup& vg, std::string_view lv) {
  std::vector<std::string> result;
  for (const LogicalVolume& candidate : vg.lvs) {
    bool found = false;
    for (const Segment& segment : candidate.segments) {
      Segment copy = segment;
      for_each_lv_reference(vg, copy, [&](std::string& name) { found = found || name == lv; });
      if (std::holds_alternative<lvm::UnknownSegment>(segment.body))
        found = found || mentions(segment.extra, lv);
    }
    if (found) result.push_back(candidate.name);
  }
  return result;
}

void rename_lv(VolumeGroup& vg, const std::string& from, const std::string& to) {
  require_new_lv_name(vg, to);
  std::vector<std::pair<std::string, std::string>> renames{{from, to}};
  for (const std::string& sub : sub_lvs(vg, require_lv(vg, from)))
    if (sub.starts_with(from + "_")) renames.emplace_back(sub, to + sub.substr(from.size()));
  for (const auto& [old_name, new_name] : renames) {
    require_understood(vg, old_name);
    if (vg.find_lv(new_name) != nullptr)
      throw Error(
          ErrorKind::refused,
          fmt::format("Logical Volume \"{}\" already exists in volume group \"{}\"", new_name, vg.name));
  }
  for (const auto& [old_name, new_name] : renames) {
    for (LogicalVolume& lv : vg.lvs)
      for (Segment& segment : lv.segments)
        for_each_lv_reference(vg, segment, [&, &old = old_name, &fresh = new_name](std::string& name) {
          if (name == old) name = fresh;
        });
    require_lv(vg, old_name).name = new_name;
  }
}

std::vector<std::string> removal_order(const VolumeGroup& vg, const std::string& name) {
  const LogicalVolume* lv = vg.find_lv(name);
  if (lv == nullptr)
    throw Error(ErrorKind::not_found, fmt::format("Failed to find logical volume \"{}/{}\"", vg.name, name));
  if (is_snapshot_pseudo(*lv))
    throw Error(ErrorKind::refused, fmt::format("Can't remove logical volume {} used by a snapshot", name));
  require_understood(vg, name);
  for (const std::string& hidden : sub_lvs(vg, *lv)) require_understood(vg, hidden);
  for (const Segment& segment : lv->segments) {
    if (std::holds_alternative<lvm::ThinSegment>(segment.body))
      throw unsupported(
          fmt::format("Thin volume {}/{} cannot be removed: its pool would have to forget it", vg.name, name),
          "use lvm2 itself on a host that has these disks");
    if (std::holds_alternative<lvm::UnknownSegment>(segment.body))
      throw unsupported(fmt::format("Logical volume {}/{} has type {}, which respaldo does not change",
                                    vg.name, name, segment.type),
                        "use lvm2 itself on a host that has these disks");
  }
  if (lv->has_status("LOCKED") || lv->has_status("PVMOVE"))
    throw Error(ErrorKind::refused, fmt::format("Can't remove locked logical volume {}/{}.", vg.name, name));

  std::vector<std::string> order;
  for (const auto& binding : vg.snapshots_of(*lv)) order.push_back(binding.cow->name);
  const auto own = vg.snapshot_binding(*lv);
  for (const std::string& user : referring_lvs(vg, name)) {
    const bool pairing = std::any_of(order.begin(), order.end(), [&](const std::string& cow) {
      const auto binding = vg.snapshot_binding(*vg.find_lv(cow));
      return binding && binding->pseudo->name == user;
    });
    if (pairing || (own && own->pseudo->name == user)) continue;
    throw Error(ErrorKind::refused,
                fmt::format("Can't remove logical volume {}/{}: it is used by {}", vg.name, name, user));
  }
  order.push_back(name);
  return order;
}

void remove_lv(VolumeGroup& vg, const std::string& name) {
  const LogicalVolume& lv = require_lv(vg, name);
  std::vector<std::string> gone = sub_lvs(vg, lv);
  gone.push_back(name);
  if (const auto binding = vg.snapshot_binding(lv)) gone.push_back(binding->pseudo->name);
  for (const std::string& each : gone) erase_lv(vg, each);
  const bool pools = std::any_of(vg.lvs.begin(), vg.lvs.end(), [](const LogicalVolume& other) {
    return std::any_of(other.segments.begin(), other.segments.end(), [](const Segment& segment) {
      return std::holds_alternative<lvm::ThinPoolSegment>(segment.body) ||
             std::holds_alternative<lvm::UnknownSegment>(segment.body);
    });
  });
  // The spare for repairing pools goes with the last pool.
  if (!pools)
    std::erase_if(vg.lvs, [](const LogicalVolume& other) {
      return !other.visible() && other.name.ends_with("_pmspare");
    });
}

std::vector<PvSegment> pv_segments(const VolumeGroup& vg, const lvm::PhysicalVolume& pv) {
  std::vector<PvSegment> used;
  for (const LogicalVolume& lv : vg.lvs)
    for (std::size_t index = 0; index < lv.segments.size(); ++index) {
      const Segment& segment = lv.segments[index];
      const auto add = [&](const std::vector<lvm::SegmentArea>& areas, std::uint64_t count) {
        for (std::size_t leg = 0; leg < areas.size(); ++leg)
          if (areas[leg].name == pv.key) used.push_back({areas[leg].extent, count, &lv, index, leg});
      };
      if (const auto* striped = std::get_if<lvm::StripedSegment>(&segment.body))
        add(striped->areas, segment.count / std::max<std::size_t>(striped->areas.size(), 1));
      else if (const auto* mirror = std::get_if<lvm::MirrorSegment>(&segment.body))
        add(mirror->areas, segment.count);
    }
  std::sort(used.begin(), used.end(),
            [](const PvSegment& a, const PvSegment& b) { return a.start < b.start; });
  std::vector<PvSegment> result;
  std::uint64_t at = 0;
  for (const PvSegment& segment : used) {
    if (segment.start > at) result.push_back({at, segment.start - at});
    result.push_back(segment);
    at = segment.start + segment.count;
  }
  if (at < pv.pe_count) result.push_back({at, pv.pe_count - at});
  return result;
}

std::uint64_t used_extents(const VolumeGroup& vg, const lvm::PhysicalVolume& pv) {
  std::uint64_t total = 0;
  for (const PvSegment& segment : pv_segments(vg, pv))
    if (segment.lv != nullptr) total += segment.count;
  return total;
}

std::vector<PvSpace> allocatable_space(const VolumeGroup& vg) {
  std::vector<PvSpace> result;
  for (const lvm::PhysicalVolume& pv : vg.pvs)
    if (pv.allocatable() && !pv.missing_flag() && !unknown_segments_mention(vg, pv.key))
      result.push_back({pv.key, vg.free_extents(pv)});
  return result;
}

void move_extents(VolumeGroup& vg, const ExtentMove& move) {
  LogicalVolume& lv = require_lv(vg, move.lv);
  for (auto it = lv.segments.begin(); it != lv.segments.end(); ++it) {
    auto* striped = std::get_if<lvm::StripedSegment>(&it->body);
    if (striped == nullptr || striped->areas.empty()) continue;
    const std::uint64_t legs = striped->areas.size(), length = it->count / legs;
    for (std::size_t leg = 0; leg < legs; ++leg) {
      const lvm::SegmentArea area = striped->areas[leg];
      if (area.name != move.from || move.start < area.extent ||
          move.start + move.count > area.extent + length)
        continue;
      if (move.count < length && legs > 1 && vg.extent_sectors % striped->stripe_sectors != 0)
        throw unsupported(
            fmt::format("Logical volume {}/{} cannot be moved in part: its stripes do not end with "
                        "its extents",
                        vg.name, lv.name));
      const std::uint64_t before = move.start - area.extent;
      // The piece of the segment that covers [from, from + count) of each leg.
      const auto piece = [&, whole = *it](std::uint64_t from, std::uint64_t count) {
        Segment part = whole;
        part.start = whole.start + from * legs;
        part.count = count * legs;
        for (lvm::SegmentArea& each : std::get<lvm::StripedSegment>(part.body).areas) each.extent += from;
        return part;
      };
      Segment moved = piece(before, move.count);
      std::get<lvm::StripedSegment>(moved.body).areas[leg] = {move.to, move.to_start};
      std::vector<Segment> parts;
      if (before > 0) parts.push_back(piece(0, before));
      parts.push_back(std::move(moved));
      if (before + move.count < length)
        parts.push_back(piece(before + move.count, length - before - move.count));
      it = lv.segments.erase(it);
      lv.segments.insert(it, std::make_move_iterator(parts.begin()), std::make_move_iterator(parts.end()));
      join_all(lv);
      return;
    }
  }
  throw Error(ErrorKind::internal,
              fmt::format("{} has no extents {}+{} on {}", move.lv, move.start, move.count, move.from));
}

}  // namespace respaldo::engine
