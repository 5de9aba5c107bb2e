// `layout` of the running host.
#include <algorithm>

#include "cli/layout.h"

namespace respaldo::cli {

namespace {

using machine::Device;
using machine::DeviceKind;

class LiveSurveyor {
 public:
  explicit LiveSurveyor(const machine::Picture& picture) : picture_(picture) {}

  Json survey() const {
    Json json = {{"disks", Json::array()}, {"layers", Json::array()}, {"volume_groups", Json::array()}};
    for (const Device& device : picture_.devices) {
      switch (device.kind) {
        case DeviceKind::disk:
        case DeviceKind::rom:
          json["disks"].push_back(disk(device));
          break;
        case DeviceKind::loop:
          // Only those that somebody set up; the rest was left out for its size.
          json["disks"].push_back(disk(device));
          break;
        case DeviceKind::md:
        case DeviceKind::crypt:
        case DeviceKind::multipath:
        case DeviceKind::mapper:
          json["layers"].push_back(layer(device));
          break;
        default:
          break;
      }
    }
    for (const engine::VgRow& vg : picture_.vgs) json["volume_groups"].push_back(group(vg));
    json["swaps"] = Json::array();
    for (const machine::Swap& swap : picture_.swaps)
      json["swaps"].push_back({{"source", swap.source}, {"size", swap.size}, {"used", swap.used}});
    json["fstab"] = Json::array();
    for (const machine::FstabEntry& entry : picture_.fstab) {
      const Device* device = machine::resolve(picture_, entry.source);
      json["fstab"].push_back({{"source", entry.source},
                               {"target", entry.target},
                               {"type", entry.type},
                               {"options", entry.options},
                               {"device", device == nullptr ? Json() : Json(device->shown_path())}});
    }
    return json;
  }

 private:
  // What lies on a device and what it is used for.
  void add_use(Json& json, const Device& device) const {
    const machine::Content& content = device.content;
    if (!content.type.empty()) json["content"] = content.type;
    if (content.ambivalent) json["content"] = "several signatures";
    if (!content.label.empty()) json["label"] = content.label;
    if (!content.uuid.empty())
      json[device.kind == DeviceKind::lvm ? "filesystem_uuid" : "uuid"] = content.uuid;
    if (!content.unreadable.empty()) json["unreadable"] = content.unreadable;
    if (const engine::PvRow* pv = machine::pv_on(picture_, device))
      json["pv"] = {{"uuid", pv->uuid},
                    {"vg", pv->vg},
                    {"size", pv->size},
                    {"free", pv->free},
                    {"data_start", pv->data_start}};
    Json mounts = Json::array();
    for (const machine::Mount* mount : machine::mounts_of(picture_, device)) {
      Json one = {{"target", mount->target}, {"type", mount->type}, {"options", mount->options}};
      if (mount->size) {
        one["size"] = *mount->size;
        one["free"] = *mount->free;
        one["available"] = *mount->available;
      }
      mounts.push_back(std::move(one));
    }
    if (!mounts.empty()) json["mounts"] = std::move(mounts);
    if (machine::swap_on(picture_, device) != nullptr) json["swap"] = true;
    for (const machine::FstabEntry& entry : picture_.fstab)
      if (machine::resolve(picture_, entry.source) == &device)
        json["fstab"] = fmt::format("{} {}{}", entry.source, entry.type == "swap" ? "swap" : entry.target,
                                    entry.has_option("nofail")   ? " nofail"
                                    : entry.has_option("noauto") ? " noauto"
                                                                 : "");
  }

  Json disk(const Device& device) const {
    Json json = {{"path", device.path}, {"size", device.size}};
    if (device.kind != DeviceKind::disk) json["kind"] = to_string(device.kind);
    for (const auto& [key, value] : {std::pair{"model", &device.model},
                                     {"serial", &device.serial},
                                     {"transport", &device.transport},
                                     {"detail", &device.detail}})
      if (!value->empty()) json[key] = *value;
    json["removable"] = device.removable;
    json["rotational"] = device.rotational;
    json["read_only"] = device.read_only;
    json["logical_sector"] = device.topology.logical_sector;
    json["physical_sector"] = device.topology.physical_sector;
    json["minimum_io"] = device.topology.minimum_io;
    json["optimal_io"] = device.topology.optimal_io;
    json["alignment_offset"] = device.topology.alignment_offset;
    if (!device.content.partition_table.empty()) json["partition_table"] = device.content.partition_table;
    add_use(json, device);
    Json partitions = Json::array();
    for (const Device& part : picture_.devices) {
      if (part.kind != DeviceKind::partition || part.parents != std::vector{device.name}) continue;
      Json one = {{"number", part.number}, {"path", part.path},      {"offset", part.start},
                  {"size", part.size},     {"type", part.part_type}, {"type_name", part.part_type_name}};
      if (!part.part_name.empty()) one["name"] = part.part_name;
      add_use(one, part);
      partitions.push_back(std::move(one));
    }
    if (!partitions.empty()) json["partitions"] = std::move(partitions);
    return json;
  }

  Json layer(const Device& device) const {
    Json json = {{"path", device.shown_path()},
                 {"kind", to_string(device.kind)},
                 {"size", device.size},
                 {"stands_on", Json::array()}};
    for (const std::string& name : device.parents) {
      const Device* parent = machine::find_device(picture_, name);
      json["stands_on"].push_back(parent == nullptr ? "/dev/" + name : parent->shown_path());
    }
    if (!device.detail.empty()) json["detail"] = device.detail;
    add_use(json, device);
    return json;
  }

  Json volume(const engine::LvRow& lv) const {
    Json json = {{"name", lv.name},
                 {"uuid", lv.uuid},
                 {"size", lv.is_thick_snapshot() ? lv.origin_size : lv.size},
                 {"kind", lv.is_thick_snapshot() ? "snapshot" : lv.segment_type},
                 {"active", lv.is_active()},
                 {"open", lv.open},
                 {"attributes", lv.attr}};
    if (!lv.tags.empty()) json["tags"] = lv.tags;
    if (!lv.origin.empty()) json["origin"] = lv.origin;
    if (!lv.pool.empty()) json["pool"] = lv.pool;
    if (lv.is_thick_snapshot()) {
      json["cow"] = {{"size", lv.size}, {"chunk", lv.chunk_size}, {"valid", !lv.snapshot_invalid}};
      if (lv.data_percent_x100) {
        json["cow"]["percent"] = *lv.data_percent_x100 / 100.0;
        json["cow"]["used"] =
            static_cast<std::uint64_t>(static_cast<double>(lv.size) * *lv.data_percent_x100 / 10000.0);
      }
    } else {
      if (lv.data_percent_x100) json["data_percent"] = *lv.data_percent_x100 / 100.0;
      if (lv.metadata_percent_x100) json["metadata_percent"] = *lv.metadata_percent_x100 / 100.0;
    }
    json["names"] = Json::array();
    for (const std::string* name : {&lv.path, &lv.dm_path})
      if (!name->empty()) json["names"].push_back(*name);
    if (const Device* device = machine::device_of(picture_, lv)) {
      json["names"].push_back(device->path);
      add_use(json, *device);
    }
    return json;
  }

  Json group(const engine::VgRow& vg) const {
    Json json = {
        {"name", vg.name}, {"uuid", vg.uuid}, {"seqno", vg.seqno},    {"extent_size", vg.extent_size},
        {"size", vg.size}, {"free", vg.free}, {"pvs", Json::array()}, {"volumes", Json::array()}};
    if (!vg.tags.empty()) json["tags"] = vg.tags;
    for (const engine::PvRow& pv : picture_.pvs)
      if (pv.vg_uuid == vg.uuid)
        json["pvs"].push_back({{"uuid", pv.uuid},
                               {"name", pv.missing ? Json() : Json(pv.name)},
                               {"missing", pv.missing},
                               {"size", pv.size},
                               {"free", pv.free},
                               {"data_start", pv.data_start}});
    for (const engine::LvRow& lv : picture_.lvs)
      if (lv.vg_uuid == vg.uuid && !lv.hidden) json["volumes"].push_back(volume(lv));
    return json;
  }

  const machine::Picture& picture_;
};

}  // namespace

machine::Places places_of(app::Context& context) {
  machine::Places places;
  if (const auto fstab = context.world().environment("RESPALDO_FSTAB"); fstab && !fstab->empty())
    places.fstab = *fstab;
  return places;
}

machine::Picture look_at_host(app::Context& context, os::CommandRunner& commands) {
  return machine::read_picture(places_of(context), commands, context.stop());
}

std::string repository_folder(app::Context& context) {
  try {
    std::string location = context.repository_location();
    if (location.starts_with("local:")) location.erase(0, 6);
    // "rest:http://...", "s3:...", "sftp:...": not here.
    if (location.find(':') != std::string::npos && !location.starts_with('/')) return {};
    return machine::real_path(location);
  } catch (const Error&) {
    return {};
  }
}

Json to_json(const machine::Finding& finding) {
  return {{"severity", to_string(finding.severity)},
          {"kind", finding.kind},
          {"subject", finding.subject},
          {"message", finding.message},
          {"advice", finding.advice}};
}

app::ExitCode live_layout(app::Context& context) {
  const auto commands = os::system_commands();
  const machine::Picture picture = look_at_host(context, *commands);
  const machine::Findings findings = machine::find_all(picture, repository_folder(context));
  Json all = LiveSurveyor(picture).survey();
  all["findings"] = Json::array();
  for (const machine::Finding& finding : findings) all["findings"].push_back(to_json(finding));
  all["warnings"] = picture.warnings;
  if (context.options().json) {
    context.print_json(dump(all));
    return app::ExitCode::ok;
  }
  draw_layout(context, all);
  if (!findings.empty()) context.print("");
  draw_findings(context, findings);
  for (const std::string& warning : picture.warnings) context.warn(printable(warning));
  return app::ExitCode::ok;
}

}  // namespace respaldo::cli
