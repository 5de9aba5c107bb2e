#include "view/base_facts.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "view/volume_view.h"

namespace respaldo::view {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kLargestFile = 64U << 20;

Error not_facts(std::string_view why) {
  return Error(ErrorKind::corrupt, fmt::format("{} does not tell of bases: {}", kFactsName, why));
}

// Fields may be absent, but what is there has its type.
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

const Json* object(const Json& parent, const char* name) {
  const auto at = parent.find(name);
  if (at == parent.end()) return nullptr;
  if (!at->is_object()) throw not_facts(fmt::format("\"{}\" is not an object", name));
  return &*at;
}

Json to_json(const BaseFacts& base) {
  Json json = {{"token", base.token},
               {"source", base.source},
               {"snapshot_uuid", base.snapshot_uuid},
               {"origin_uuid", base.origin_uuid},
               {"vg_uuid", base.vg_uuid},
               {"layout", base.layout},
               {"size", base.size},
               {"chunk", base.chunk}};
  if (!base.binding_uuid.empty()) json["binding_uuid"] = base.binding_uuid;
  if (!base.pool_uuid.empty()) json["pool_uuid"] = base.pool_uuid;
  if (base.thin_id) json["thin_id"] = *base.thin_id;
  return json;
}

BaseFacts parse_base(const Json& json) {
  BaseFacts base;
  base.token = text(json, "token");
  base.source = text(json, "source");
  base.snapshot_uuid = text(json, "snapshot_uuid");
  base.origin_uuid = text(json, "origin_uuid");
  base.vg_uuid = text(json, "vg_uuid");
  base.layout = text(json, "layout");
  base.binding_uuid = text(json, "binding_uuid");
  base.size = number(json, "size").value_or(0);
  base.chunk = number(json, "chunk").value_or(0);
  base.pool_uuid = text(json, "pool_uuid");
  base.thin_id = number(json, "thin_id");
  return base;
}

}  // namespace

std::string BaseRecord::add_to(std::string_view volume_json) const {
  Json json = Json::parse(volume_json, nullptr, false);
  if (!json.is_object()) throw Error(ErrorKind::internal, "volume.json is not a JSON object");
  if (kept) json["base"] = to_json(*kept);
  if (used) {
    Json one = {{"source", used->source}};
    if (!used->token.empty()) one["token"] = used->token;
    one["backup"] = used->backup;
    one["changed_bytes"] = used->changed_bytes;
    one["reused_bytes"] = used->reused_bytes;
    json["base_used"] = std::move(one);
  }
  if (!refused.empty()) json["base_refused"] = refused;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

BaseRecord BaseRecord::parse(std::string_view volume_json) {
  const Json json = Json::parse(volume_json, nullptr, false);
  if (!json.is_object()) throw not_facts("it is not a JSON object");
  BaseRecord record;
  if (const Json* base = object(json, "base")) record.kept = parse_base(*base);
  if (const Json* used = object(json, "base_used"))
    record.used =
        ReuseFacts{text(*used, "source"), text(*used, "token"), text(*used, "backup"),
                   number(*used, "changed_bytes").value_or(0), number(*used, "reused_bytes").value_or(0)};
  record.refused = text(json, "base_refused");
  return record;
}

std::optional<BaseRecord> load_base_record(const repo::IndexedRepository& repository,
                                           const repo::Snapshot& snapshot, const std::string& tree_path) {
  try {
    const auto node = find_node(repository, snapshot, tree_path + "/" + std::string(kFactsName));
    if (!node || node->type != repo::NodeType::file || node->size > kLargestFile) return std::nullopt;
    std::string json;
    for (const repo::BlobId& id : node->content) {
      json += as_text(repository.load_blob(repo::BlobType::data, id));
      if (json.size() > kLargestFile) return std::nullopt;
    }
    return BaseRecord::parse(json);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace respaldo::view
