// VolumeGroup::parse: the text becomes the model, and is judged.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/printable.h"
#include "lvm/volume_group.h"

namespace respaldo::lvm {

namespace {

// Extents and sectors stay far below what multiplies to 2^63 bytes.
constexpr std::uint64_t kMostSectors = std::uint64_t{1} << 53;
constexpr std::size_t kMostObjects = 1U << 20;

[[noreturn]] void bad(std::string message) { throw Error(ErrorKind::corrupt, std::move(message)); }

// Reads keys of a section and remembers which, so that the rest can be kept. The first of equal keys counts.
class Reader {
 public:
  Reader(const ConfigSection& section, std::string place) : section_(section), place_(std::move(place)) {
    entries_.reserve(section.size());
    for (const ConfigNode& node : section) entries_.try_emplace(node.key, Entry{&node});
  }

  std::uint64_t number(std::string_view key, std::uint64_t most = kMostSectors) {
    return required(maybe_number(key, most), key);
  }
  std::optional<std::uint64_t> maybe_number(std::string_view key, std::uint64_t most = kMostSectors) {
    const auto value = maybe_signed(key);
    if (!value) return std::nullopt;
    if (*value < 0 || static_cast<std::uint64_t>(*value) > most)
      bad(fmt::format("{}: '{}' is {}, which cannot be", place_, key, *value));
    return static_cast<std::uint64_t>(*value);
  }
  std::optional<std::int64_t> maybe_signed(std::string_view key) {
    return maybe_scalar<std::int64_t>(key, "a whole number");
  }
  std::string text(std::string_view key) { return required(maybe_text(key), key); }
  std::optional<std::string> maybe_text(std::string_view key) {
    return maybe_scalar<std::string>(key, "a string");
  }
  std::vector<std::string> words(std::string_view key) {
    const ConfigNode* node = get(key);
    if (node == nullptr) return {};
    std::vector<std::string> result;
    const auto add = [&](const ConfigScalar& scalar) {
      const auto* word = std::get_if<std::string>(&scalar);
      if (word == nullptr) wrong_type(key, "an array of strings");
      result.push_back(*word);
    };
    // An old text may have a single word where an array is usual.
    if (const auto* scalar = std::get_if<ConfigScalar>(&node->value)) {
      add(*scalar);
    } else if (const auto* array = std::get_if<ConfigArray>(&node->value)) {
      for (const ConfigScalar& item : *array) add(item);
    } else {
      wrong_type(key, "an array of strings");
    }
    return result;
  }
  Uuid uuid(std::string_view key) {
    const std::string given = text(key);
    auto id = Uuid::parse(given);
    if (!id) bad(fmt::format("{}: '{}' is not an LVM UUID", place_, printable(given)));
    return *id;
  }
  std::vector<SegmentArea> areas(std::string_view key) {
    const ConfigNode* node = get(key);
    const auto* array = node != nullptr ? std::get_if<ConfigArray>(&node->value) : nullptr;
    if (array == nullptr || array->size() % 2 != 0) wrong_type(key, "a list of places");
    std::vector<SegmentArea> result;
    for (std::size_t i = 0; i < array->size(); i += 2) {
      const auto* name = std::get_if<std::string>(&(*array)[i]);
      const auto* extent = std::get_if<std::int64_t>(&(*array)[i + 1]);
      if (name == nullptr || extent == nullptr || *extent < 0 ||
          static_cast<std::uint64_t>(*extent) > kMostSectors)
        wrong_type(key, "a list of places");
      result.push_back({*name, static_cast<std::uint64_t>(*extent)});
    }
    return result;
  }
  const ConfigSection* section(std::string_view key) {
    const ConfigNode* node = get(key);
    if (node == nullptr) return nullptr;
    if (node->section() == nullptr) wrong_type(key, "a section");
    return node->section();
  }
  ConfigSection rest() const {
    ConfigSection result;
    for (const ConfigNode& node : section_)
      if (!entries_.at(node.key).seen) result.push_back(node);
    return result;
  }
  const std::string& place() const { return place_; }

 private:
  struct Entry {
    const ConfigNode* node;
    bool seen = false;
  };
  [[noreturn]] void wrong_type(std::string_view key, std::string_view wanted) const {
    bad(fmt::format("{}: '{}' is not {}", place_, key, wanted));
  }
  const ConfigNode* get(std::string_view key) {
    auto it = entries_.find(key);
    if (it == entries_.end()) return nullptr;
    it->second.seen = true;
    return it->second.node;
  }
  template <class T>
  T required(std::optional<T> value, std::string_view key) const {
    if (!value) bad(fmt::format("{}: '{}' is missing", place_, key));
    return std::move(*value);
  }
  template <class T>
  std::optional<T> maybe_scalar(std::string_view key, std::string_view wanted) {
    const ConfigNode* node = get(key);
    if (node == nullptr) return std::nullopt;
    const auto* scalar = std::get_if<ConfigScalar>(&node->value);
    const auto* value = scalar != nullptr ? std::get_if<T>(scalar) : nullptr;
    if (value == nullptr) wrong_type(key, wanted);
    return *value;
  }

  const ConfigSection& section_;
  std::string place_;
  std::unordered_map<std::string_view, Entry> entries_;
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

// Who is who in a group, found without walking its lists: hostile groups have many of everything.
struct Names {
  std::unordered_map<std::string_view, const PhysicalVolume*> pvs;
  std::unordered_map<std::string_view, const LogicalVolume*> lvs;
  // The LV whose place a name takes where PV keys come first, as lvm2 looks them up.
  const LogicalVolume* area_lv(std::string_view name) const {
    return pvs.contains(name) ? nullptr : lv(name);
  }
  const LogicalVolume* lv(std::string_view name) const {
    auto it = lvs.find(name);
    return it != lvs.end() ? it->second : nullptr;
  }
};

Names names_of(const VolumeGroup& vg) {
  Names names;
  for (const PhysicalVolume& pv : vg.pvs) names.pvs.emplace(pv.key, &pv);
  for (const LogicalVolume& lv : vg.lvs) names.lvs.emplace(lv.name, &lv);
  return names;
}

// Names of LVs that a segment stands on.
std::vector<std::string_view> lv_references(const Names& names, const Segment& segment) {
  std::vector<std::string_view> result;
  std::visit(
      [&](const auto& body) {
        using Body = std::decay_t<decltype(body)>;
        if constexpr (std::is_same_v<Body, StripedSegment> || std::is_same_v<Body, MirrorSegment>) {
          for (const SegmentArea& area : body.areas)
            if (!names.pvs.contains(area.name)) result.push_back(area.name);
          if constexpr (std::is_same_v<Body, MirrorSegment>)
            if (body.log) result.push_back(*body.log);
        } else if constexpr (std::is_same_v<Body, RaidSegment>) {
          result.insert(result.end(), body.metadata.begin(), body.metadata.end());
          result.insert(result.end(), body.images.begin(), body.images.end());
        } else if constexpr (std::is_same_v<Body, SnapshotSegment>) {
          result = {body.origin, body.cow};
        } else if constexpr (std::is_same_v<Body, ThinPoolSegment>) {
          result = {body.metadata, body.data};
        } else if constexpr (std::is_same_v<Body, ThinSegment>) {
          result.push_back(body.pool);
          if (body.external_origin) result.push_back(*body.external_origin);
        }
      },
      segment.body);
  return result;
}

// Every name exists, no LV stands on itself, no stack is higher than who reads it can bear.
class ReferenceJudge {
 public:
  ReferenceJudge(const VolumeGroup& vg, const Names& names) : vg_(vg), names_(names) {
    for (const LogicalVolume& lv : vg.lvs)
      for (const Segment& segment : lv.segments) add_edges(lv, segment);
  }

  void judge() {
    for (const LogicalVolume& lv : vg_.lvs)
      if (!heights_.contains(&lv)) visit(&lv);
  }

 private:
  static constexpr int kOpen = 0, kHighest = 256;
  struct Frame {
    const LogicalVolume* lv;
    std::size_t next = 0;
    int height = 1;
  };

  const LogicalVolume* named(const LogicalVolume& lv, std::string_view name) const {
    const LogicalVolume* found = names_.lv(name);
    if (found == nullptr)
      bad(fmt::format("volume {}/{} stands on '{}', which does not exist", vg_.name, lv.name,
                      printable(name)));
    return found;
  }

  void add_edges(const LogicalVolume& lv, const Segment& segment) {
    for (std::string_view name : lv_references(names_, segment)) edges_[&lv].push_back(named(lv, name));
    // What a COW LV shows needs its origin; while it merges, what the origin shows needs the COW LV.
    if (const auto* snapshot = std::get_if<SnapshotSegment>(&segment.body)) {
      const LogicalVolume* origin = named(lv, snapshot->origin);
      const LogicalVolume* cow = named(lv, snapshot->cow);
      if (snapshot->merging) std::swap(origin, cow);
      edges_[cow].push_back(origin);
    }
  }

  // Depth first, on a stack of its own.
  void visit(const LogicalVolume* start) {
    std::vector<Frame> stack{{start}};
    heights_[start] = kOpen;
    while (!stack.empty()) {
      Frame& top = stack.back();
      const auto& below = edges_[top.lv];
      if (top.next == below.size()) {
        const int height = top.height;
        heights_[top.lv] = height;
        stack.pop_back();
        if (!stack.empty()) raise(stack.back(), height);
        continue;
      }
      const LogicalVolume* next = below[top.next++];
      auto seen = heights_.find(next);
      if (seen == heights_.end()) {
        heights_[next] = kOpen;
        stack.push_back({next});
      } else if (seen->second == kOpen) {
        bad(fmt::format("volume {}/{} stands on itself", vg_.name, next->name));
      } else {
        raise(top, seen->second);
      }
    }
  }

  void raise(Frame& frame, int below) const {
    frame.height = std::max(frame.height, below + 1);
    if (frame.height > kHighest)
      bad(fmt::format("volume {}/{} is a stack of more than {} volumes", vg_.name, frame.lv->name, kHighest));
  }

  const VolumeGroup& vg_;
  const Names& names_;
  std::unordered_map<const LogicalVolume*, std::vector<const LogicalVolume*>> edges_;
  std::unordered_map<const LogicalVolume*, int> heights_;
};

// No extent of a PV or of an LV below belongs to two segments, none lies past the end.
void require_sound_areas(const VolumeGroup& vg, const Names& names) {
  struct Use {
    std::uint64_t begin, end;
    const LogicalVolume* lv;
  };
  std::map<std::string_view, std::vector<Use>> uses;
  std::unordered_map<const LogicalVolume*, std::uint64_t> lengths;
  for (const LogicalVolume& lv : vg.lvs) lengths[&lv] = lv.extents();
  const auto use = [&](const LogicalVolume& lv, std::string_view below, std::uint64_t extent,
                       std::uint64_t count, std::uint64_t room) {
    if (extent + count > room)
      bad(fmt::format("volume {}/{} uses extents {} to {} of '{}', which has only {}", vg.name, lv.name,
                      extent, extent + count - 1, below, room));
    uses[below].push_back({extent, extent + count, &lv});
  };
  const auto use_area = [&](const LogicalVolume& lv, const SegmentArea& area, std::uint64_t count) {
    const LogicalVolume* below = names.area_lv(area.name);
    use(lv, area.name, area.extent, count,
        below != nullptr ? lengths.at(below) : names.pvs.at(area.name)->pe_count);
  };
  for (const LogicalVolume& lv : vg.lvs) {
    for (const Segment& segment : lv.segments) {
      if (const auto* striped = std::get_if<StripedSegment>(&segment.body)) {
        for (const SegmentArea& area : striped->areas)
          use_area(lv, area, segment.count / striped->areas.size());
      } else if (const auto* mirror = std::get_if<MirrorSegment>(&segment.body)) {
        for (const SegmentArea& area : mirror->areas) use_area(lv, area, segment.count);
      } else if (const auto* raid = std::get_if<RaidSegment>(&segment.body)) {
        for (const std::string& image : raid->images)
          if (const LogicalVolume* below = names.area_lv(image))
            use(lv, image, 0, lengths.at(below), lengths.at(below));
      }
    }
  }
  for (auto& [below, list] : uses) {
    std::sort(list.begin(), list.end(), [](const Use& a, const Use& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < list.size(); ++i)
      if (list[i].begin < list[i - 1].end)
        bad(fmt::format("volumes {0}/{1} and {0}/{2} both claim extent {3} of {4}", vg.name,
                        list[i - 1].lv->name, list[i].lv->name, list[i].begin, below));
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

  const Names names = names_of(vg);
  ReferenceJudge(vg, names).judge();
  require_sound_areas(vg, names);
  return vg;
}

}  // namespace respaldo::lvm
