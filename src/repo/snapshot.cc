#include "repo/snapshot.h"

#include <fmt/format.h>

#include <iterator>

#include "repo/go_text.h"
#include "repo/json_reader.h"

namespace respaldo::repo {

namespace {

class ObjectWriter {
 public:
  explicit ObjectWriter(std::string& json) : json_(json) { json_ += '{'; }
  void text(std::string_view name, std::string_view value) {
    key(name);
    append_json_string(json_, value);
  }
  void text_unless_empty(std::string_view name, std::string_view value) {
    if (!value.empty()) text(name, value);
  }
  void number(std::string_view name, std::uint64_t value) {
    key(name);
    fmt::format_to(std::back_inserter(json_), "{}", value);
  }
  void flag(std::string_view name) {
    key(name);
    json_ += "true";
  }
  void list(std::string_view name, const std::vector<std::string>& values) {
    key(name);
    json_ += '[';
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) json_ += ',';
      append_json_string(json_, values[i]);
    }
    json_ += ']';
  }
  void key(std::string_view name) {
    if (json_.back() != '{') json_ += ',';
    fmt::format_to(std::back_inserter(json_), "\"{}\":", name);
  }
  void end() { json_ += '}'; }

 private:
  std::string& json_;
};

// The counters of a summary, in restic's order.
struct Counter {
  const char* name;
  std::uint64_t SnapshotSummary::*member;
};
constexpr Counter kCounters[] = {{"files_new", &SnapshotSummary::files_new},
                                 {"files_changed", &SnapshotSummary::files_changed},
                                 {"files_unmodified", &SnapshotSummary::files_unmodified},
                                 {"dirs_new", &SnapshotSummary::dirs_new},
                                 {"dirs_changed", &SnapshotSummary::dirs_changed},
                                 {"dirs_unmodified", &SnapshotSummary::dirs_unmodified},
                                 {"data_blobs", &SnapshotSummary::data_blobs},
                                 {"tree_blobs", &SnapshotSummary::tree_blobs},
                                 {"data_added", &SnapshotSummary::data_added},
                                 {"data_added_packed", &SnapshotSummary::data_added_packed},
                                 {"total_files_processed", &SnapshotSummary::total_files_processed},
                                 {"total_bytes_processed", &SnapshotSummary::total_bytes_processed}};

std::vector<std::string> texts(simdjson::dom::object object, std::string_view key) {
  std::vector<std::string> values;
  if (const auto list = array_member(object, key)) {
    for (const simdjson::dom::element element : *list) {
      std::string_view value;
      if (element.get(value) != simdjson::SUCCESS) bad_field(key, "a list of texts");
      values.emplace_back(value);
    }
  }
  return values;
}

}  // namespace

std::string to_json(const Snapshot& snapshot) {
  std::string json;
  ObjectWriter out(json);
  out.text("time", format_time(snapshot.time));
  if (snapshot.parent) out.text("parent", snapshot.parent->hex());
  out.text("tree", snapshot.tree.hex());
  out.list("paths", snapshot.paths);
  out.text_unless_empty("hostname", snapshot.hostname);
  out.text_unless_empty("username", snapshot.username);
  if (snapshot.uid != 0) out.number("uid", snapshot.uid);
  if (snapshot.gid != 0) out.number("gid", snapshot.gid);
  if (!snapshot.excludes.empty()) out.list("excludes", snapshot.excludes);
  if (!snapshot.tags.empty()) out.list("tags", snapshot.tags);
  if (snapshot.original) out.text("original", snapshot.original->hex());
  out.text_unless_empty("program_version", snapshot.program_version);
  if (snapshot.summary) {
    out.key("summary");
    ObjectWriter inner(json);
    inner.text("backup_start", format_time(snapshot.summary->backup_start));
    inner.text("backup_end", format_time(snapshot.summary->backup_end));
    for (const Counter& counter : kCounters) inner.number(counter.name, (*snapshot.summary).*counter.member);
    inner.end();
  }
  if (snapshot.incomplete) out.flag("incomplete");
  out.end();
  return json;
}

Snapshot parse_snapshot(ByteView json) {
  const JsonDocument document(json, "snapshot");
  const simdjson::dom::object root = document.root();
  Snapshot snapshot;
  const auto time = time_member(root, "time");
  if (!time) bad_field("time", "there");
  snapshot.time = *time;
  snapshot.parent = id_member<SnapshotId>(root, "parent");
  const auto tree = id_member<BlobId>(root, "tree");
  if (!tree) bad_field("tree", "there");
  snapshot.tree = *tree;
  snapshot.paths = texts(root, "paths");
  snapshot.hostname = text_member(root, "hostname").value_or("");
  snapshot.username = text_member(root, "username").value_or("");
  snapshot.uid = static_cast<std::uint32_t>(unsigned_member(root, "uid", UINT32_MAX).value_or(0));
  snapshot.gid = static_cast<std::uint32_t>(unsigned_member(root, "gid", UINT32_MAX).value_or(0));
  snapshot.excludes = texts(root, "excludes");
  snapshot.tags = texts(root, "tags");
  snapshot.original = id_member<SnapshotId>(root, "original");
  snapshot.program_version = text_member(root, "program_version").value_or("");
  if (const auto element = member(root, "summary")) {
    simdjson::dom::object object;
    if (element->get(object) != simdjson::SUCCESS) bad_field("summary", "an object");
    SnapshotSummary summary;
    summary.backup_start = time_member(object, "backup_start").value_or(Timestamp());
    summary.backup_end = time_member(object, "backup_end").value_or(Timestamp());
    for (const Counter& counter : kCounters)
      summary.*counter.member = unsigned_member(object, counter.name).value_or(0);
    snapshot.summary = summary;
  }
  snapshot.incomplete = bool_member(root, "incomplete").value_or(false);
  return snapshot;
}

}  // namespace respaldo::repo
