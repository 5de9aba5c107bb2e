// VolumeGroup::parse: the text becomes the model, and is judged.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/printable.h"
#include "lvm/volume_group.h"

namespace respaldo::lvm {

namespace {

// Extents and sectors stay far below what multiplies to 2^63 bytes.
constexpr std::uint64_t kMostSectors = std::uint64_t{1} << 53;
constexpr std::size_t kMostObjects = 1U << 20;

[[noreturn]] void bad(std::string message) { throw Error(ErrorKind::corrupt, std::move(message)); }

// Reads keys of a section and remembers which, so that the rest can be kept.
class Reader {
 public:
  Reader(const ConfigSection& section, std::string place) : section_(section), place_(std::move(place)) {}

  std::uint64_t number(std::string_view key, std::uint64_t most = kMostSectors) {
    auto value = maybe_number(key, most);
    if (!value) bad(fmt::format("{}: '{}' is missing", place_, key));
    return *value;
  }
  std::optional<std::uint64_t> maybe_number(std::string_view key, std::uint64_t most = kMostSectors) {
    seen_.insert(std::string(key));
    const auto value = get_integer(section_, key);
    if (!value) return std::nullopt;
    if (*value < 0 || static_cast<std::uint64_t>(*value) > most)
      bad(fmt::format("{}: '{}' is {}, which cannot be", place_, key, *value));
    return static_cast<std::uint64_t>(*value);
  }
  std::optional<std::int64_t> maybe_signed(std::string_view key) {
    seen_.insert(std::string(key));
    return get_integer(section_, key);
  }
  std::string text(std::string_view key) {
    auto value = maybe_text(key);
    if (!value) bad(fmt::format("{}: '{}' is missing", place_, key));
    return *value;
  }
  std::optional<std::string> maybe_text(std::string_view key) {
    seen_.insert(std::string(key));
    return get_string(section_, key);
  }
  std::vector<std::string> words(std::string_view key) {
    seen_.insert(std::string(key));
    // An old text may have a single word where an array is usual.
    const ConfigNode* node = find(section_, key);
    if (node != nullptr)
      if (const auto* scalar = std::get_if<ConfigScalar>(&node->value))
        if (const auto* word = std::get_if<std::string>(scalar)) return {*word};
    return get_string_array(section_, key);
  }
  Uuid uuid(std::string_view key) {
    const std::string given = text(key);
    auto id = Uuid::parse(given);
    if (!id) bad(fmt::format("{}: '{}' is not an LVM UUID", place_, printable(given)));
    return *id;
  }
  std::vector<SegmentArea> areas(std::string_view key) {
    seen_.insert(std::string(key));
    const ConfigNode* node = find(section_, key);
    const auto* array = node != nullptr ? std::get_if<ConfigArray>(&node->value) : nullptr;
    if (array == nullptr || array->size() % 2 != 0)
      bad(fmt::format("{}: '{}' is not a list of places", place_, key));
    std::vector<SegmentArea> result;
    for (std::size_t i = 0; i < array->size(); i += 2) {
      const auto* name = std::get_if<std::string>(&(*array)[i]);
      const auto* extent = std::get_if<std::int64_t>(&(*array)[i + 1]);
      if (name == nullptr || extent == nullptr || *extent < 0 ||
          static_cast<std::uint64_t>(*extent) > kMostSectors)
        bad(fmt::format("{}: '{}' is not a list of places", place_, key));
      result.push_back({*name, static_cast<std::uint64_t>(*extent)});
    }
    return result;
  }
  const ConfigSection* section(std::string_view key) {
    seen_.insert(std::string(key));
    const ConfigNode* node = find(section_, key);
    if (node == nullptr) return nullptr;
    if (node->section() == nullptr) bad(fmt::format("{}: '{}' is not a section", place_, key));
    return node->section();
  }
  void ignore(std::string_view key) { seen_.insert(std::string(key)); }
  ConfigSection rest() const {
    ConfigSection result;
    for (const ConfigNode& node : section_)
      if (!seen_.contains(node.key)) result.push_back(node);
    return result;
  }
  const std::string& place() const { return place_; }

 private:
  const ConfigSection& section_;
  std::string place_;
  std::set<std::string> seen_;
};

PhysicalVolume read_pv(const ConfigNode& node) {
  if (node.section() == nullptr)
    bad(fmt::format("physical volume '{}' is not a section", printable(node.key)));
  Reader reader(*node.section(), fmt::format("physical volume '{}'", printable(node.key)));
  PhysicalVolume pv;
  pv.key = node.key;
  pv.id = reader.uuid("id");
  pv.device_hint = reader.maybe_text("device").value_or("");
  pv.status = reader.words("status");
  pv.flags = reader.words("flags");
  pv.tags = reader.words("tags");
  pv.dev_size_sectors = reader.maybe_number("dev_size").value_or(0);
  pv.pe_start_sectors = reader.number("pe_start");
  pv.pe_count = reader.number("pe_count");
  pv.ba_start_sectors = reader.maybe_number("ba_start");
  pv.ba_size_sectors = reader.maybe_number("ba_size");
  pv.extra = reader.rest();
  return pv;
}

StripedSegment read_striped(Reader& reader, std::uint64_t count) {
  StripedSegment body;
  const std::uint64_t stripes = reader.number("stripe_count");
  body.areas = reader.areas("stripes");
  body.stripe_sectors = reader.maybe_number("stripe_size").value_or(0);
  if (stripes != body.areas.size() || stripes == 0)
    bad(fmt::format("{}: stripe_count is wrong", reader.place()));
  if (stripes > 1 && body.stripe_sectors == 0) bad(fmt::format("{}: stripe_size is missing", reader.place()));
  if (count % stripes != 0)
    bad(fmt::format("{}: {} extents do not divide into {} stripes", reader.place(), count, stripes));
  return body;
}

MirrorSegment read_mirror(Reader& reader) {
  MirrorSegment body;
  const std::uint64_t legs = reader.number("mirror_count");
  body.areas = reader.areas("mirrors");
  body.log = reader.maybe_text("mirror_log");
  body.region_sectors = reader.maybe_number("region_size").value_or(0);
  body.extents_moved = reader.maybe_number("extents_moved");
  if (legs != body.areas.size() || legs == 0) bad(fmt::format("{}: mirror_count is wrong", reader.place()));
  return body;
}

RaidSegment read_raid(Reader& reader, std::string level) {
  RaidSegment body;
  body.level = std::move(level);
  const bool raid0 = body.level == "raid0";
  const bool named_stripes = raid0 || body.level == "raid0_meta";
  const std::uint64_t legs = reader.number(named_stripes ? "stripe_count" : "device_count");
  body.stripe_sectors = reader.maybe_number("stripe_size").value_or(0);
  body.region_sectors = reader.maybe_number("region_size").value_or(0);
  body.data_copies = static_cast<std::uint32_t>(reader.maybe_number("data_copies", 255).value_or(0));
  const std::vector<std::string> names = reader.words(raid0 ? "raid0_lvs" : "raids");
  if (names.size() != (raid0 ? legs : 2 * legs) || legs == 0)
    bad(fmt::format("{}: the list of devices has {} names for {} legs", reader.place(), names.size(), legs));
  for (std::size_t i = 0; i < names.size(); ++i)
    (raid0 || i % 2 == 1 ? body.images : body.metadata).push_back(names[i]);
  return body;
}

SnapshotSegment read_snapshot(Reader& reader) {
  SnapshotSegment body;
  body.origin = reader.text("origin");
  body.chunk_sectors = reader.number("chunk_size", 1U << 20);
  auto cow = reader.maybe_text("cow_store");
  auto merging = reader.maybe_text("merging_store");
  if (cow.has_value() == merging.has_value())
    bad(fmt::format("{}: exactly one of cow_store and merging_store is needed", reader.place()));
  body.merging = merging.has_value();
  body.cow = cow ? *cow : *merging;
  if (body.chunk_sectors == 0) bad(fmt::format("{}: chunk_size is 0", reader.place()));
  return body;
}

Segment read_segment(const ConfigSection& section, const std::string& place) {
  Reader reader(section, place);
  Segment segment;
  segment.start = reader.number("start_extent");
  segment.count = reader.number("extent_count");
  segment.type = reader.text("type");
  segment.tags = reader.words("tags");
  if (segment.count == 0) bad(fmt::format("{}: has no extents", place));
  const std::string& type = segment.type;
  if (type == "striped" || type == "linear") {
    segment.body = read_striped(reader, segment.count);
  } else if (type == "mirror") {
    segment.body = read_mirror(reader);
  } else if (type.starts_with("raid") && type.find('+') == std::string::npos) {
    segment.body = read_raid(reader, type);
  } else if (type == "snapshot") {
    segment.body = read_snapshot(reader);
  } else if (type == "thin-pool" || type == "thin-pool+CROP_METADATA") {
    ThinPoolSegment body;
    body.metadata = reader.text("metadata");
    body.data = reader.text("pool");
    body.transaction_id = reader.number("transaction_id");
    body.chunk_sectors = reader.number("chunk_size", 1U << 24);
    body.messages_pending = std::any_of(section.begin(), section.end(), [](const ConfigNode& node) {
      return node.key.starts_with("message") && node.section() != nullptr;
    });
    if (body.chunk_sectors == 0) bad(fmt::format("{}: chunk_size is 0", place));
    segment.body = std::move(body);
  } else if (type == "thin") {
    ThinSegment body;
    body.pool = reader.text("thin_pool");
    body.transaction_id = reader.number("transaction_id");
    body.device_id = static_cast<std::uint32_t>(reader.number("device_id", (1U << 24) - 1));
    body.origin = reader.maybe_text("origin");
    body.external_origin = reader.maybe_text("external_origin");
    segment.body = std::move(body);
  } else if (type == "error") {
    segment.body = ErrorSegment{};
  } else if (type == "zero") {
    segment.body = ZeroSegment{};
  } else {
    segment.body = UnknownSegment{};
  }
  segment.extra = reader.rest();
  return segment;
}

LogicalVolume read_lv(const ConfigNode& node, const std::string& vg) {
  if (node.section() == nullptr)
    bad(fmt::format("logical volume '{}' is not a section", printable(node.key)));
  if (auto problem = vg_name_problem(node.key))
    bad(fmt::format("logical volume '{}': {}", printable(node.key), *problem));
  Reader reader(*node.section(), fmt::format("volume {}/{}", vg, node.key));
  LogicalVolume lv;
  lv.name = node.key;
  lv.id = reader.uuid("id");
  lv.status = reader.words("status");
  lv.flags = reader.words("flags");
  lv.tags = reader.words("tags");
  lv.creation_time = reader.maybe_signed("creation_time");
  lv.creation_host = reader.maybe_text("creation_host").value_or("");
  lv.allocation_policy = reader.maybe_text("allocation_policy");
  const std::uint64_t segments = reader.number("segment_count", kMostObjects);
  for (std::uint64_t i = 1; i <= segments; ++i) {
    const std::string key = fmt::format("segment{}", i);
    const ConfigSection* section = reader.section(key);
    if (section == nullptr) bad(fmt::format("{}: '{}' is missing", reader.place(), key));
    lv.segments.push_back(read_segment(*section, fmt::format("{}, {}", reader.place(), key)));
  }
  std::sort(lv.segments.begin(), lv.segments.end(),
            [](const Segment& a, const Segment& b) { return a.start < b.start; });
  std::uint64_t expected = 0;
  for (const Segment& segment : lv.segments) {
    if (segment.start != expected)
      bad(fmt::format("{}: its segments leave a gap or overlap at extent {}", reader.place(), expected));
    expected += segment.count;
    if (expected > kMostSectors) bad(fmt::format("{}: is absurdly large", reader.place()));
  }
  lv.extra = reader.rest();
  return lv;
}

// Names of LVs that a segment stands on, with the extents needed where it names them.
std::vector<SegmentArea> lv_references(const VolumeGroup& vg, const Segment& segment) {
  std::vector<SegmentArea> result;
  const auto whole = [&](const std::string& lv_name) { result.push_back({lv_name, 0}); };
  std::visit(
      [&](const auto& body) {
        using Body = std::decay_t<decltype(body)>;
        if constexpr (std::is_same_v<Body, StripedSegment> || std::is_same_v<Body, MirrorSegment>) {
          for (const SegmentArea& area : body.areas)
            if (vg.find_pv(area.name) == nullptr) result.push_back(area);
          if constexpr (std::is_same_v<Body, MirrorSegment>)
            if (body.log) whole(*body.log);
        } else if constexpr (std::is_same_v<Body, RaidSegment>) {
          for (const auto& name : body.metadata) whole(name);
          for (const auto& name : body.images) whole(name);
        } else if constexpr (std::is_same_v<Body, SnapshotSegment>) {
          whole(body.origin);
          whole(body.cow);
        } else if constexpr (std::is_same_v<Body, ThinPoolSegment>) {
          whole(body.metadata);
          whole(body.data);
        } else if constexpr (std::is_same_v<Body, ThinSegment>) {
          whole(body.pool);
          if (body.external_origin) whole(*body.external_origin);
        }
      },
      segment.body);
  return result;
}

// Every name exists, no LV stands on itself.
void require_sound_references(const VolumeGroup& vg) {
  enum class Mark { open, done };
  std::map<const LogicalVolume*, Mark> marks;
  std::map<std::string_view, const LogicalVolume*> by_name;
  for (const LogicalVolume& lv : vg.lvs) by_name[lv.name] = &lv;
  struct Frame {
    const LogicalVolume* lv;
    std::vector<const LogicalVolume*> next;
  };
  const auto targets = [&](const LogicalVolume& lv) {
    std::vector<const LogicalVolume*> result;
    for (const Segment& segment : lv.segments) {
      for (const SegmentArea& area : lv_references(vg, segment)) {
        auto it = by_name.find(area.name);
        if (it == by_name.end())
          bad(fmt::format("volume {}/{} stands on '{}', which does not exist", vg.name, lv.name,
                          printable(area.name)));
        result.push_back(it->second);
      }
    }
    return result;
  };
  for (const LogicalVolume& start : vg.lvs) {
    if (marks.contains(&start)) continue;
    std::vector<Frame> stack;
    stack.push_back({&start, targets(start)});
    marks[&start] = Mark::open;
    while (!stack.empty()) {
      if (stack.back().next.empty()) {
        marks[stack.back().lv] = Mark::done;
        stack.pop_back();
        continue;
      }
      const LogicalVolume* next = stack.back().next.back();
      stack.back().next.pop_back();
      auto mark = marks.find(next);
      if (mark == marks.end()) {
        marks[next] = Mark::open;
        stack.push_back({next, targets(*next)});
      } else if (mark->second == Mark::open) {
        bad(fmt::format("volume {}/{} stands on itself", vg.name, next->name));
      }
    }
  }
}

// No extent of a PV belongs to two segments, none lies past the PV's end; areas of LVs lie inside them.
void require_sound_areas(const VolumeGroup& vg) {
  struct Use {
    std::uint64_t begin, end;
    const LogicalVolume* lv;
  };
  std::map<std::string_view, std::vector<Use>> uses;
  for (const LogicalVolume& lv : vg.lvs) {
    for (const Segment& segment : lv.segments) {
      const std::vector<SegmentArea>* areas = nullptr;
      std::uint64_t count = segment.count;
      if (const auto* striped = std::get_if<StripedSegment>(&segment.body)) {
        areas = &striped->areas;
        count /= striped->areas.size();
      } else if (const auto* mirror = std::get_if<MirrorSegment>(&segment.body)) {
        areas = &mirror->areas;
      }
      if (areas == nullptr) continue;
      for (const SegmentArea& area : *areas) {
        std::uint64_t room = 0;
        if (const PhysicalVolume* pv = vg.find_pv(area.name)) {
          room = pv->pe_count;
          uses[pv->key].push_back({area.extent, area.extent + count, &lv});
        } else {
          room = vg.find_lv(area.name)->extents();
        }
        if (area.extent + count > room)
          bad(fmt::format("volume {}/{} uses extents {} to {} of '{}', which has only {}", vg.name, lv.name,
                          area.extent, area.extent + count - 1, area.name, room));
      }
    }
  }
  for (auto& [pv, list] : uses) {
    std::sort(list.begin(), list.end(), [](const Use& a, const Use& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < list.size(); ++i)
      if (list[i].begin < list[i - 1].end)
        bad(fmt::format("volumes {0}/{1} and {0}/{2} both claim extent {3} of {4}", vg.name,
                        list[i - 1].lv->name, list[i].lv->name, list[i].begin, pv));
  }
}

template <class List, class Key>
void require_unique(const List& list, Key key, std::string_view what) {
  std::set<std::string> seen;
  for (const auto& item : list)
    if (!seen.insert(key(item)).second)
      bad(fmt::format("{} '{}' is there twice", what, printable(key(item))));
}

}  // namespace

VolumeGroup VolumeGroup::parse(std::string_view text) {
  const ConfigSection tree = parse_config(text);
  VolumeGroup vg;
  const ConfigNode* root = nullptr;
  for (const ConfigNode& node : tree) {
    if (root == nullptr && node.section() != nullptr) {
      root = &node;
    } else {
      vg.header.push_back(node);
    }
  }
  if (root == nullptr) bad("the metadata text has no volume group");
  if (get_string(vg.header, "contents").value_or("") != "Text Format Volume Group" ||
      get_integer(vg.header, "version").value_or(0) != 1)
    bad("the text is not LVM2 metadata of version 1");
  if (auto problem = vg_name_problem(root->key))
    bad(fmt::format("volume group '{}': {}", printable(root->key), *problem));
  vg.name = root->key;

  Reader reader(*root->section(), fmt::format("volume group {}", vg.name));
  vg.id = reader.uuid("id");
  vg.seqno = reader.number("seqno", 0xffffffffU);
  if (const auto format = reader.maybe_text("format"); format && *format != "lvm2")
    throw Error(ErrorKind::unsupported,
                fmt::format("volume group {} has format '{}'", vg.name, printable(*format)));
  vg.status = reader.words("status");
  vg.flags = reader.words("flags");
  vg.tags = reader.words("tags");
  vg.system_id = reader.maybe_text("system_id");
  vg.lock_type = reader.maybe_text("lock_type");
  vg.allocation_policy = reader.maybe_text("allocation_policy");
  vg.extent_sectors = reader.number("extent_size", 0xffffffffU);
  vg.max_lv = reader.maybe_number("max_lv").value_or(0);
  vg.max_pv = reader.maybe_number("max_pv").value_or(0);
  vg.metadata_copies = reader.maybe_number("metadata_copies").value_or(0);
  if (vg.extent_sectors == 0) bad(fmt::format("{}: extent_size is 0", reader.place()));

  const ConfigSection* pvs = reader.section("physical_volumes");
  if (pvs == nullptr) bad(fmt::format("{}: physical_volumes is missing", reader.place()));
  if (pvs->size() > kMostObjects)
    bad(fmt::format("{}: has {} physical volumes", reader.place(), pvs->size()));
  for (const ConfigNode& node : *pvs) vg.pvs.push_back(read_pv(node));
  for (const PhysicalVolume& pv : vg.pvs)
    if (pv.pe_count > kMostSectors / vg.extent_sectors)
      bad(fmt::format("physical volume '{}' is absurdly large", printable(pv.key)));
  require_unique(
      vg.pvs, [](const PhysicalVolume& pv) { return pv.key; }, "physical volume");
  require_unique(
      vg.pvs, [](const PhysicalVolume& pv) { return pv.id.plain(); }, "physical volume UUID");

  if (const ConfigSection* lvs = reader.section("logical_volumes")) {
    if (lvs->size() > kMostObjects)
      bad(fmt::format("{}: has {} logical volumes", reader.place(), lvs->size()));
    for (const ConfigNode& node : *lvs) vg.lvs.push_back(read_lv(node, vg.name));
  }
  for (const LogicalVolume& lv : vg.lvs)
    if (lv.extents() > kMostSectors / vg.extent_sectors)
      bad(fmt::format("volume {}/{} is absurdly large", vg.name, lv.name));
  require_unique(
      vg.lvs, [](const LogicalVolume& lv) { return lv.name; }, "logical volume");
  require_unique(
      vg.lvs, [](const LogicalVolume& lv) { return lv.id.plain(); }, "logical volume UUID");
  vg.extra = reader.rest();

  require_sound_references(vg);
  require_sound_areas(vg);
  return vg;
}

}  // namespace respaldo::lvm
