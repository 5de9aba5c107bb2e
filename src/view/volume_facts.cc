#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "view/volume_view.h"

namespace respaldo::view {

namespace {

using Json = nlohmann::ordered_json;

Error not_facts(std::string_view why) {
  return Error(ErrorKind::corrupt, fmt::format("{} does not describe a volume: {}", kFactsName, why));
}

// Fields may be absent (older or foreign writers), but what is there has its type.
std::string text(const Json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end()) return {};
  if (!at->is_string()) throw not_facts(fmt::format("\"{}\" is not text", name));
  return at->get<std::string>();
}

std::optional<std::uint64_t> number(const Json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end()) return std::nullopt;
  if (!at->is_number_unsigned()) throw not_facts(fmt::format("\"{}\" is not a number", name));
  return at->get<std::uint64_t>();
}

// A list of texts; empty when it is absent.
std::vector<std::string> texts(const Json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end()) return {};
  const auto is_text = [](const Json& item) { return item.is_string(); };
  if (!at->is_array() || !std::ranges::all_of(*at, is_text))
    throw not_facts(fmt::format("\"{}\" is not a list of texts", name));
  return at->get<std::vector<std::string>>();
}

// A list of objects; empty when it is absent.
const Json& list(const Json& object, const char* name) {
  static const Json none = Json::array();
  const auto at = object.find(name);
  if (at == object.end()) return none;
  if (!at->is_array()) throw not_facts(fmt::format("\"{}\" is not a list", name));
  for (const Json& item : *at)
    if (!item.is_object()) throw not_facts(fmt::format("something in \"{}\" is not an object", name));
  return *at;
}

}  // namespace

std::string describe(const std::vector<LostRange>& lost) {
  std::uint64_t bytes = 0;
  for (const LostRange& range : lost) bytes += range.extent.length;
  return fmt::format("{} in {} range{} are lost, and are zeros; the first is at byte {}: {}", format_size(bytes),
                     lost.size(), lost.size() == 1 ? "" : "s", lost.empty() ? 0 : lost.front().extent.offset,
                     lost.empty() ? "" : printable(lost.front().why));
}

std::string VolumeFacts::to_json() const {
  Json json;
  json["vg"] = vg;
  json["lv"] = lv;
  json["vg_uuid"] = vg_uuid;
  json["lv_uuid"] = lv_uuid;
  json["size"] = size;
  json["segment_type"] = segment_type;
  json["engine"] = engine;
  json["how"] = how;
  if (!snapshot_name.empty()) json["snapshot"] = snapshot_name;
  if (cow_size) json["cow_size"] = *cow_size;
  if (cow_used) json["cow_used"] = *cow_used;
  if (cow_chunk) json["cow_chunk"] = *cow_chunk;
  if (pool_size) json["pool_size"] = *pool_size;
  if (pool_used) json["pool_used"] = *pool_used;
  if (pool_metadata_size) json["pool_metadata_size"] = *pool_metadata_size;
  if (pool_metadata_used) json["pool_metadata_used"] = *pool_metadata_used;
  if (!filesystem.empty()) json["filesystem"] = filesystem;
  if (!filesystem_uuid.empty()) json["filesystem_uuid"] = filesystem_uuid;
  if (!filesystem_label.empty()) json["filesystem_label"] = filesystem_label;
  Json ranges = Json::array();
  for (const LostRange& range : lost)
    ranges.push_back({{"offset", range.extent.offset}, {"length", range.extent.length}, {"why", range.why}});
  json["lost"] = std::move(ranges);
  if (free_bytes > 0) json["free_bytes"] = free_bytes;
  Json views = Json::array();
  for (const FileViewFacts& view : file_views) {
    Json one = {{"folder", view.folder}};
    if (!view.how.empty()) one["how"] = view.how;
    one["filesystem"] = view.filesystem;
    one["uuid"] = view.uuid;
    one["label"] = view.label;
    if (!view.journal.empty()) one["journal"] = view.journal;
    if (view.encrypted_folders > 0) one["encrypted_folders"] = view.encrypted_folders;
    if (view.newest_ctime) one["newest_ctime"] = *view.newest_ctime;
    if (!view.notes.empty()) one["notes"] = view.notes;
    one["finding_count"] = view.finding_count;
    Json findings = Json::array();
    for (const auto& finding : view.findings)
      findings.push_back({{"path", finding.path}, {"what", finding.what}});
    one["findings"] = std::move(findings);
    views.push_back(std::move(one));
  }
  if (!views.empty()) json["file_views"] = std::move(views);
  // Labels come from disks: bytes that are not UTF-8 must not end a backup.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

VolumeFacts VolumeFacts::parse(std::string_view source) {
  const Json json = Json::parse(source, nullptr, false);
  if (!json.is_object()) throw not_facts("not a JSON object");
  VolumeFacts facts;
  facts.vg = text(json, "vg");
  facts.lv = text(json, "lv");
  facts.vg_uuid = text(json, "vg_uuid");
  facts.lv_uuid = text(json, "lv_uuid");
  facts.size = number(json, "size").value_or(0);
  facts.segment_type = text(json, "segment_type");
  facts.engine = text(json, "engine");
  facts.how = text(json, "how");
  facts.snapshot_name = text(json, "snapshot");
  facts.cow_size = number(json, "cow_size");
  facts.cow_used = number(json, "cow_used");
  facts.cow_chunk = number(json, "cow_chunk");
  facts.pool_size = number(json, "pool_size");
  facts.pool_used = number(json, "pool_used");
  facts.pool_metadata_size = number(json, "pool_metadata_size");
  facts.pool_metadata_used = number(json, "pool_metadata_used");
  facts.filesystem = text(json, "filesystem");
  facts.filesystem_uuid = text(json, "filesystem_uuid");
  facts.filesystem_label = text(json, "filesystem_label");
  for (const Json& range : list(json, "lost")) {
    const auto offset = number(range, "offset"), length = number(range, "length");
    if (!offset || !length || *length > UINT64_MAX - *offset)
      throw not_facts("a lost range has no sound borders");
    facts.lost.push_back({{*offset, *length}, text(range, "why")});
  }
  facts.free_bytes = number(json, "free_bytes").value_or(0);
  for (const Json& one : list(json, "file_views")) {
    FileViewFacts view;
    view.folder = text(one, "folder");
    view.how = text(one, "how");
    view.filesystem = text(one, "filesystem");
    view.uuid = text(one, "uuid");
    view.label = text(one, "label");
    view.journal = text(one, "journal");
    view.encrypted_folders = number(one, "encrypted_folders").value_or(0);
    view.newest_ctime = number(one, "newest_ctime");
    view.notes = texts(one, "notes");
    view.finding_count = number(one, "finding_count").value_or(0);
    for (const Json& finding : list(one, "findings"))
      view.findings.push_back({text(finding, "path"), text(finding, "what")});
    facts.file_views.push_back(std::move(view));
  }
  return facts;
}

}  // namespace respaldo::view
