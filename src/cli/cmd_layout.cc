#include "base/units.h"
#include "block/layers.h"
#include "cli/command.h"
#include "cli/layout.h"
#include "cli/shared.h"
#include "dm/cow_store.h"
#include "engine/image/image_engine.h"
#include "engine/image/vg_edit.h"
#include "fs/probe/probe.h"

namespace respaldo::cli {

namespace {

// The whole picture as JSON; the tree for people is drawn from it.
class Surveyor {
 public:
  explicit Surveyor(const engine::DiskSet& disks) : disks_(disks) {}

  Json survey() const {
    Json json = {{"disks", Json::array()}, {"volume_groups", Json::array()}, {"warnings", disks_.warnings()}};
    for (std::size_t d = 0; d < disks_.disks().size(); ++d) json["disks"].push_back(disk(d));
    for (const auto& group : disks_.groups()) json["volume_groups"].push_back(volume_group(group));
    return json;
  }

 private:
  static void add_probe(Json& json, const block::Device& device) {
    try {
      if (const auto found = fs::probe(device)) {
        json["content"] = found->type;
        if (!found->label.empty()) json["label"] = found->label;
        if (!found->uuid.empty()) json["uuid"] = found->uuid;
      }
    } catch (const Error& error) {
      json["unreadable"] = error.what();
    }
  }

  void add_place(Json& json, std::size_t disk, std::optional<unsigned> partition, Extent extent) const {
    for (const engine::FoundPv& pv : disks_.pvs()) {
      if (pv.disk != disk || pv.partition != partition) continue;
      Json one = {{"uuid", pv.label.id.dashed()}, {"vg", pv.vg}};
      for (const auto& group : disks_.groups())
        if (const auto* listed = group.vg.name == pv.vg ? group.vg.find_pv(pv.label.id) : nullptr) {
          one["size"] = listed->pe_count * group.vg.extent_bytes();
          one["free"] =
              (listed->pe_count - engine::used_extents(group.vg, *listed)) * group.vg.extent_bytes();
        }
      json["pv"] = std::move(one);
      return;
    }
    const auto device = disks_.disk_device(disk);
    try {
      add_probe(json, *block::slice(device, extent, "partition"));
    } catch (const Error& error) {
      json["unreadable"] = error.what();
    }
  }

  Json disk(std::size_t index) const {
    const engine::FoundDisk& disk = disks_.disks()[index];
    Json json = {{"path", disk.path.native()}, {"size", disk.size}};
    if (!disk.partitions || disk.partitions->partitions.empty()) {
      add_place(json, index, std::nullopt, {0, disk.size});
      return json;
    }
    json["partition_table"] = disk.partitions->kind;
    json["partitions"] = Json::array();
    for (const fs::Partition& partition : disk.partitions->partitions) {
      Json one = {{"number", partition.number},
                  {"offset", partition.extent.offset},
                  {"size", partition.extent.length},
                  {"type", partition.type},
                  {"type_name", partition.type_name}};
      if (!partition.name.empty()) one["name"] = partition.name;
      add_place(one, index, partition.number, partition.extent);
      json["partitions"].push_back(std::move(one));
    }
    return json;
  }

  Json volume(const engine::DiskSet::Group& group, const lvm::LogicalVolume& lv) const {
    Json json = {{"name", lv.name},
                 {"uuid", lv.id.dashed()},
                 {"size", group.vg.lv_bytes(lv)},
                 {"extents", lv.extents()},
                 {"kind", lv.kind()}};
    if (!lv.tags.empty()) json["tags"] = lv.tags;
    const auto binding = group.vg.snapshot_binding(lv);
    if (binding) {
      json["kind"] = "snapshot";
      json["origin"] = binding->origin->name;
      json["size"] = binding->virtual_extents * group.vg.extent_bytes();
      try {
        const auto status =
            dm::CowStore::load(*disks_.open_layer(group, lv, "cow"), binding->chunk_sectors * kSector)
                .status();
        json["cow"] = {{"size", status.total},
                       {"used", status.used},
                       {"chunk", status.chunk},
                       {"percent", status.percent_x100() / 100.0},
                       {"valid", status.valid}};
      } catch (const Error& error) {
        json["unreadable"] = error.what();
        return json;
      }
    }
    try {
      add_probe(json, *disks_.open_lv(group, lv));
    } catch (const Error& error) {
      json["unreadable"] = error.what();
    }
    return json;
  }

  Json volume_group(const engine::DiskSet::Group& group) const {
    const lvm::VolumeGroup& vg = group.vg;
    std::uint64_t extents = 0;
    for (const lvm::PhysicalVolume& pv : vg.pvs) extents += pv.pe_count;
    Json json = {{"name", vg.name},
                 {"uuid", vg.id.dashed()},
                 {"seqno", vg.seqno},
                 {"extent_size", vg.extent_bytes()},
                 {"size", extents * vg.extent_bytes()},
                 {"free", vg.free_extent_count() * vg.extent_bytes()},
                 {"pvs", Json::array()},
                 {"volumes", Json::array()}};
    for (const lvm::PhysicalVolume& pv : vg.pvs) {
      const auto at = group.pvs.find(pv.id.plain());
      json["pvs"].push_back({{"uuid", pv.id.dashed()},
                             {"name", at == group.pvs.end() ? Json() : Json(disks_.pvs()[at->second].name)},
                             {"missing", at == group.pvs.end()},
                             {"size", pv.pe_count * vg.extent_bytes()}});
    }
    for (const lvm::LogicalVolume& lv : vg.lvs)
      if ((lv.visible() || vg.snapshot_binding(lv)) && !engine::is_snapshot_pseudo(lv))
        json["volumes"].push_back(volume(group, lv));
    return json;
  }

  const engine::DiskSet& disks_;
};

app::ExitCode layout(app::Context& context) {
  if (context.options().disks.empty()) return live_layout(context);
  // A look disturbs nobody: while an activation serves the images they are read as they lie.
  const auto disks = engine::DiskSet::open(context.images(), engine::LockMode::none);
  const Json all = Surveyor(*disks).survey();
  if (context.options().json) {
    context.print_json(dump(all));
    return app::ExitCode::ok;
  }
  draw_layout(context, all);
  for (const std::string& warning : disks->warnings()) context.warn(warning);
  return app::ExitCode::ok;
}

}  // namespace

Action configure_layout(CLI::App&) {
  return [](app::Context& context) { return layout(context); };
}

}  // namespace respaldo::cli
