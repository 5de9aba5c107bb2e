// VolumeGroup::text: the model becomes the text that lvm2 reads.
#include <fmt/format.h>
#include <sys/utsname.h>

#include "lvm/volume_group.h"

namespace respaldo::lvm {

namespace {

using Value = std::variant<ConfigScalar, ConfigArray, ConfigSection>;

class Builder {
 public:
  void number(std::string_view key, std::uint64_t value) {
    section_.push_back({std::string(key), ConfigScalar(static_cast<std::int64_t>(value))});
  }
  void text(std::string_view key, std::string value) {
    section_.push_back({std::string(key), ConfigScalar(std::move(value))});
  }
  void text(std::string_view key, const std::optional<std::string>& value) {
    if (value) text(key, *value);
  }
  void words(std::string_view key, const std::vector<std::string>& list) {
    ConfigArray array;
    for (const std::string& word : list) array.emplace_back(word);
    section_.push_back({std::string(key), std::move(array)});
  }
  void tags(const std::vector<std::string>& list) {
    if (!list.empty()) words("tags", list);
  }
  void areas(std::string_view key, const std::vector<SegmentArea>& list) {
    ConfigArray array;
    for (const SegmentArea& area : list) {
      array.emplace_back(area.name);
      array.emplace_back(static_cast<std::int64_t>(area.extent));
    }
    section_.push_back({std::string(key), std::move(array)});
  }
  void section(std::string_view key, ConfigSection inner) {
    section_.push_back({std::string(key), std::move(inner)});
  }
  void rest(const ConfigSection& extra) { section_.insert(section_.end(), extra.begin(), extra.end()); }
  ConfigSection take() { return std::move(section_); }

 private:
  ConfigSection section_;
};

void print_body(Builder& out, const StripedSegment& body) {
  out.number("stripe_count", body.areas.size());
  if (body.areas.size() > 1 || body.stripe_sectors != 0) out.number("stripe_size", body.stripe_sectors);
  out.areas("stripes", body.areas);
}
void print_body(Builder& out, const MirrorSegment& body) {
  out.number("mirror_count", body.areas.size());
  if (body.extents_moved) out.number("extents_moved", *body.extents_moved);
  out.text("mirror_log", body.log);
  if (body.region_sectors != 0) out.number("region_size", body.region_sectors);
  out.areas("mirrors", body.areas);
}
void print_body(Builder& out, const RaidSegment& body) {
  const bool raid0 = body.level == "raid0";
  out.number(raid0 || body.level == "raid0_meta" ? "stripe_count" : "device_count", body.images.size());
  if (body.data_copies != 0) out.number("data_copies", body.data_copies);
  if (body.region_sectors != 0) out.number("region_size", body.region_sectors);
  if (body.stripe_sectors != 0) out.number("stripe_size", body.stripe_sectors);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < body.images.size(); ++i) {
    if (!raid0) names.push_back(body.metadata[i]);
    names.push_back(body.images[i]);
  }
  out.words(raid0 ? "raid0_lvs" : "raids", names);
}
void print_body(Builder& out, const SnapshotSegment& body) {
  out.number("chunk_size", body.chunk_sectors);
  out.text("origin", body.origin);
  out.text(body.merging ? "merging_store" : "cow_store", body.cow);
}
void print_body(Builder& out, const ThinPoolSegment& body) {
  out.text("metadata", body.metadata);
  out.text("pool", body.data);
  out.number("transaction_id", body.transaction_id);
  out.number("chunk_size", body.chunk_sectors);
}
void print_body(Builder& out, const ThinSegment& body) {
  out.text("thin_pool", body.pool);
  out.number("transaction_id", body.transaction_id);
  out.number("device_id", body.device_id);
  out.text("external_origin", body.external_origin);
  out.text("origin", body.origin);
}
void print_body(Builder&, const ErrorSegment&) {}
void print_body(Builder&, const ZeroSegment&) {}
void print_body(Builder&, const UnknownSegment&) {}

ConfigSection segment_section(const Segment& segment) {
  Builder out;
  out.number("start_extent", segment.start);
  out.number("extent_count", segment.count);
  out.text("type", segment.type);
  out.tags(segment.tags);
  std::visit([&](const auto& body) { print_body(out, body); }, segment.body);
  out.rest(segment.extra);
  return out.take();
}

ConfigSection lv_section(const LogicalVolume& lv) {
  Builder out;
  out.text("id", lv.id.dashed());
  out.words("status", lv.status);
  out.words("flags", lv.flags);
  out.tags(lv.tags);
  if (lv.creation_time) out.number("creation_time", static_cast<std::uint64_t>(*lv.creation_time));
  if (lv.creation_time || !lv.creation_host.empty()) out.text("creation_host", lv.creation_host);
  out.text("allocation_policy", lv.allocation_policy);
  out.rest(lv.extra);
  out.number("segment_count", lv.segments.size());
  for (std::size_t i = 0; i < lv.segments.size(); ++i)
    out.section(fmt::format("segment{}", i + 1), segment_section(lv.segments[i]));
  return out.take();
}

ConfigSection pv_section(const PhysicalVolume& pv) {
  Builder out;
  out.text("id", pv.id.dashed());
  out.text("device", pv.device_hint);
  out.words("status", pv.status);
  out.words("flags", pv.flags);
  out.tags(pv.tags);
  if (pv.dev_size_sectors != 0) out.number("dev_size", pv.dev_size_sectors);
  out.number("pe_start", pv.pe_start_sectors);
  out.number("pe_count", pv.pe_count);
  if (pv.ba_start_sectors) out.number("ba_start", *pv.ba_start_sectors);
  if (pv.ba_size_sectors) out.number("ba_size", *pv.ba_size_sectors);
  out.rest(pv.extra);
  return out.take();
}

ConfigSection group_section(const VolumeGroup& vg) {
  Builder out;
  out.text("id", vg.id.dashed());
  out.number("seqno", vg.seqno);
  out.text("format", std::string("lvm2"));
  out.words("status", vg.status);
  out.words("flags", vg.flags);
  out.tags(vg.tags);
  out.text("system_id", vg.system_id);
  out.text("lock_type", vg.lock_type);
  out.number("extent_size", vg.extent_sectors);
  out.number("max_lv", vg.max_lv);
  out.number("max_pv", vg.max_pv);
  out.text("allocation_policy", vg.allocation_policy);
  out.number("metadata_copies", vg.metadata_copies);
  out.rest(vg.extra);
  Builder pvs;
  for (const PhysicalVolume& pv : vg.pvs) pvs.section(pv.key, pv_section(pv));
  out.section("physical_volumes", pvs.take());
  if (!vg.lvs.empty()) {
    Builder lvs;
    // lvm2 writes the visible ones first. A COW store is as visible as its origin.
    const auto shown = [&](const LogicalVolume& lv) {
      const auto binding = vg.snapshot_binding(lv);
      return binding && binding->origin != nullptr ? binding->origin->visible() : lv.visible();
    };
    for (const bool visible : {true, false})
      for (const LogicalVolume& lv : vg.lvs)
        if (shown(lv) == visible) lvs.section(lv.name, lv_section(lv));
    out.section("logical_volumes", lvs.take());
  }
  return out.take();
}

}  // namespace

std::string VolumeGroup::text(TextStyle style, std::string_view description, std::int64_t now) const {
  ConfigSection head = header;
  utsname host{};
  ::uname(&host);
  lvm::set(head, "contents", ConfigScalar(std::string("Text Format Volume Group")));
  lvm::set(head, "version", ConfigScalar(std::int64_t{1}));
  lvm::set(head, "description", ConfigScalar(std::string(description)));
  lvm::set(head, "creation_host", ConfigScalar(std::string(host.nodename)));
  lvm::set(head, "creation_time", ConfigScalar(now));
  const ConfigNode group{name, group_section(*this)};
  ConfigSection tree;
  if (style == TextStyle::file) {
    // Values first; but the first section is the group, whatever else is there.
    for (ConfigNode& node : head)
      if (node.section() == nullptr) tree.push_back(std::move(node));
    tree.push_back(group);
    for (ConfigNode& node : head)
      if (node.section() != nullptr) tree.push_back(std::move(node));
    return "# Generated by respaldo, in the format of LVM2's vgcfgbackup.\n\n" + print_config(tree, style);
  }
  tree.push_back(group);
  tree.insert(tree.end(), head.begin(), head.end());
  return print_config(tree, style);
}

}  // namespace respaldo::lvm
