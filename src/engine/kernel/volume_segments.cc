#include "engine/kernel/volume_segments.h"

#include <algorithm>

#include "engine/kernel/tools/lvm_report.h"

namespace respaldo::engine {

namespace {

constexpr const char* kFields = "vg_uuid,lv_uuid,lv_name,segtype,seg_size,move_pv,devices";

std::string plain_name(std::string name) {
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') return name.substr(1, name.size() - 2);
  return name;
}

bool is_pvmove(std::string_view name) {
  constexpr std::string_view kWord = "pvmove";
  return name.starts_with(kWord) && name.size() > kWord.size() &&
         std::ranges::all_of(name.substr(kWord.size()), [](char c) { return c >= '0' && c <= '9'; });
}

void add_once(std::vector<std::string>& all, const std::string& one) {
  if (std::ranges::find(all, one) == all.end()) all.push_back(one);
}

// The physical volumes below a hidden volume; an atomic move has its halves in hidden volumes of their own.
void physical_below(const std::vector<Segment>& segments, const std::string& vg_uuid, const std::string& lv,
                    int depth, std::vector<std::string>& found) {
  if (depth == 0) return;
  for (const Segment& segment : segments) {
    if (segment.vg_uuid != vg_uuid || segment.lv != lv) continue;
    for (const std::string& device : segment.devices) {
      if (device.starts_with('/'))
        add_once(found, device);
      else
        physical_below(segments, vg_uuid, device, depth - 1, found);
    }
  }
}

}  // namespace

std::vector<Segment> parse_segments(std::string_view json) {
  std::vector<Segment> segments;
  for (const LvmRow& row : parse_lvm_report(json, "seg")) {
    Segment segment;
    segment.vg_uuid = row.text("vg_uuid");
    segment.lv_uuid = row.text("lv_uuid");
    segment.lv = plain_name(row.text("lv_name"));
    segment.type = row.text("segtype");
    segment.move_pv = row.text("move_pv");
    segment.size = row.number_or_zero("seg_size");
    for (const std::string& device : row.list("devices"))
      segment.devices.push_back(plain_name(device.substr(0, device.rfind('('))));
    segments.push_back(std::move(segment));
  }
  return segments;
}

Whereabouts whereabouts_of(const std::vector<Segment>& segments, const LvRow& volume) {
  Whereabouts found;
  std::string moved_by;
  for (const Segment& segment : segments) {
    if (segment.vg_uuid != volume.vg_uuid || segment.lv_uuid != volume.uuid) continue;
    if (segment.devices.size() == 1 && is_pvmove(segment.devices[0])) {
      moved_by = segment.devices[0];
      continue;
    }
    if (segment.type != "linear" || segment.devices.size() != 1 || !segment.devices[0].starts_with('/')) {
      found.strange = segment.type.empty() ? "unknown" : segment.type;
      continue;
    }
    const auto share = std::ranges::find(found.shares, segment.devices[0], &Share::pv);
    if (share == found.shares.end())
      found.shares.push_back({segment.devices[0], segment.size});
    else
      share->bytes += segment.size;
  }
  std::vector<std::string> seen;
  for (const Segment& segment : segments) {
    if (segment.vg_uuid != volume.vg_uuid || !is_pvmove(segment.lv)) continue;
    if (std::ranges::find(seen, segment.lv) != seen.end()) continue;
    seen.push_back(segment.lv);
    Pvmove move{segment.lv, segment.move_pv, {}};
    physical_below(segments, volume.vg_uuid, segment.lv, 3, move.to);
    std::erase(move.to, move.from);
    if (segment.lv == moved_by)
      found.moving = std::move(move);
    else
      found.others.push_back(std::move(move));
  }
  return found;
}

Whereabouts whereabouts_of(World& world, const LvRow& volume) {
  return whereabouts_of(
      parse_segments(world.lvm().ask({"lvs", "-a", "--segments", "--reportformat", "json", "--units", "b",
                                      "--nosuffix", "-o", kFields, volume.vg})),
      volume);
}

}  // namespace respaldo::engine
