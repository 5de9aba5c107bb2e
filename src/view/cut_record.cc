#include "view/cut_record.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace respaldo::view {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kFormat = 1;
constexpr std::uint64_t kLargestFile = 64U << 20;
constexpr std::uint64_t kLargestVolume = std::uint64_t{1} << 62;

Error not_a_record(std::string_view why) {
  return Error(ErrorKind::corrupt, fmt::format("{} does not say how an image was cut: {}", kCutsName, why));
}

// Gap and length, in turn.
Json pairs(const std::vector<Extent>& extents) {
  Json list = Json::array();
  std::uint64_t done = 0;
  for (const Extent& extent : extents) {
    list.push_back(extent.offset - done);
    list.push_back(extent.length);
    done = extent.end();
  }
  return list;
}

std::uint64_t number(const Json& value) {
  if (!value.is_number_unsigned()) throw not_a_record("something is not a number");
  return value.get<std::uint64_t>();
}

std::vector<Extent> extents(const Json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end() || !at->is_array()) throw not_a_record(fmt::format("\"{}\" is not a list", name));
  if (at->size() % 2 != 0 || at->size() / 2 > CutRecord::kMostEntries)
    throw not_a_record(fmt::format("\"{}\" has {} numbers", name, at->size()));
  std::vector<Extent> list;
  list.reserve(at->size() / 2);
  std::uint64_t done = 0;
  for (std::size_t i = 0; i < at->size(); i += 2) {
    const std::uint64_t gap = number((*at)[i]), length = number((*at)[i + 1]);
    if (length == 0 || gap > kLargestVolume - done || length > kLargestVolume - done - gap)
      throw not_a_record(fmt::format("\"{}\" holds a range that cannot be", name));
    list.push_back({done + gap, length});
    done += gap + length;
  }
  return list;
}

}  // namespace

std::string CutRecord::to_json() const {
  const Json json = {{"format", kFormat},
                     {"cutter", cutter},
                     {"complete_to", complete_to},
                     {"free_dropped", free_dropped},
                     {"zeros", pairs(zeros.extents())},
                     {"content", pairs(content)}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

CutRecord CutRecord::parse(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) throw not_a_record("it is not a JSON object");
  const auto field = [&](const char* name) -> const Json& {
    const auto at = json.find(name);
    if (at == json.end()) throw not_a_record(fmt::format("it has no \"{}\"", name));
    return *at;
  };
  if (number(field("format")) != kFormat) throw not_a_record("its format is not known");
  CutRecord record;
  if (!field("cutter").is_string()) throw not_a_record("\"cutter\" is not text");
  record.cutter = field("cutter").get<std::string>();
  record.complete_to = number(field("complete_to"));
  if (!field("free_dropped").is_boolean()) throw not_a_record("\"free_dropped\" is neither true nor false");
  record.free_dropped = field("free_dropped").get<bool>();
  for (const Extent& extent : extents(json, "zeros")) record.zeros.add(extent);
  record.content = extents(json, "content");
  return record;
}

std::optional<CutRecord> load_cut_record(const repo::IndexedRepository& repository,
                                         const repo::Snapshot& snapshot, const StoredVolume& volume) {
  try {
    const auto node = find_node(repository, snapshot, volume.tree_path + "/" + std::string(kCutsName));
    if (!node || node->type != repo::NodeType::file || node->size > kLargestFile) return std::nullopt;
    std::string text;
    for (const repo::BlobId& id : node->content) {
      text += as_text(repository.load_blob(repo::BlobType::data, id));
      if (text.size() > kLargestFile) return std::nullopt;
    }
    return CutRecord::parse(text);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace respaldo::view
