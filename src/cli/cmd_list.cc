// list and show.
#include "base/printable.h"
#include "base/units.h"
#include "cli/care_options.h"
#include "cli/command.h"
#include "cli/shared.h"
#include "view/base_facts.h"

namespace respaldo::cli {

namespace {

Json snapshot_json(const repo::NamedSnapshot& named) {
  const repo::Snapshot& s = named.snapshot;
  Json json = {{"id", named.id.hex()},
               {"short_id", named.id.short_hex()},
               {"time", format_time(s.time)},
               {"hostname", s.hostname},
               {"username", s.username},
               {"paths", s.paths},
               {"tags", s.tags},
               {"tree", s.tree.hex()},
               {"program_version", s.program_version},
               {"incomplete", s.incomplete}};
  if (s.parent) json["parent"] = s.parent->hex();
  if (s.summary)
    json["summary"] = {{"total_bytes", s.summary->total_bytes_processed},
                       {"new_bytes", s.summary->data_added},
                       {"stored_bytes", s.summary->data_added_packed}};
  return json;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + printable(word);
  return text;
}

std::string volume_of(const std::string& path) {
  return printable(path.starts_with("/dev/") ? path.substr(5) : path);
}

app::ExitCode list(app::Context& context, const FilterWords& words) {
  const care::BackupFilter filter = words.filter();
  context.look_ahead(false);
  std::vector<std::string> damaged;
  std::vector<repo::NamedSnapshot> all = context.repository().snapshots(&damaged);
  const std::size_t there = all.size();
  std::erase_if(all, [&](const repo::NamedSnapshot& named) { return !filter.matches(named.snapshot); });
  for (const std::string& problem : damaged) context.warn(problem);
  warn_if_none_fits(context, there, all.size());
  if (context.options().json) {
    Json json = Json::array();
    for (const repo::NamedSnapshot& named : all) json.push_back(snapshot_json(named));
    context.print_json(dump(json));
  } else {
    if (!all.empty())
      context.print(fmt::format("{:<8}  {:<19}  {:<16}  {:>11}  {:>11}  {}", "ID", "Time", "Host", "Size",
                                "Added", "Volumes  [tags]"));
    for (const repo::NamedSnapshot& named : all) {
      const repo::Snapshot& s = named.snapshot;
      std::string volumes;
      for (const std::string& path : s.paths) volumes += (volumes.empty() ? "" : ", ") + volume_of(path);
      if (!s.tags.empty()) volumes += fmt::format("  [{}]", joined(s.tags));
      if (s.incomplete) volumes += "  INCOMPLETE";
      context.print(fmt::format("{:<8}  {:<19}  {:<16}  {:>11}  {:>11}  {}", named.id.short_hex(),
                                local_time(s.time), printable(s.hostname),
                                s.summary ? format_size(s.summary->total_bytes_processed) : "",
                                s.summary ? format_size(s.summary->data_added_packed) : "", volumes));
    }
    if (context.options().verbosity > 0)
      context.print(counted(all.size(), "backup"));
  }
  return damaged.empty() ? app::ExitCode::ok : app::ExitCode::damaged;
}

// What a backup was spared by a base, and what it kept for the next one.
std::vector<std::string> base_words(const view::BaseRecord& record) {
  std::vector<std::string> words;
  if (record.used)
    words.push_back(fmt::format("{} changed since backup {} ({}), {} were not read again",
                                format_size(record.used->changed_bytes),
                                printable(record.used->backup.substr(0, 8)), printable(record.used->source),
                                format_size(record.used->reused_bytes)));
  if (!record.refused.empty()) words.push_back(fmt::format("not used: {}", printable(record.refused)));
  if (record.kept)
    words.push_back(fmt::format("kept for the next backup: {} snapshot of {}, in chunks of {}",
                                printable(record.kept->source), format_size(record.kept->size),
                                format_size(record.kept->chunk)));
  return words;
}

Json base_json(const view::BaseRecord& record) {
  Json json = Json::object();
  if (record.used)
    json["used"] = {{"source", record.used->source},
                    {"backup", record.used->backup},
                    {"changed_bytes", record.used->changed_bytes},
                    {"reused_bytes", record.used->reused_bytes}};
  if (!record.refused.empty()) json["refused"] = record.refused;
  if (record.kept)
    json["kept"] = {{"source", record.kept->source},
                    {"token", record.kept->token},
                    {"snapshot_uuid", record.kept->snapshot_uuid},
                    {"size", record.kept->size},
                    {"chunk", record.kept->chunk}};
  return json;
}

app::ExitCode show(app::Context& context, const std::string& selector) {
  context.look_ahead(true);
  const FoundBackup found = find_backup(context, selector, Latest::of_readable);
  const repo::Snapshot& s = found.backup.snapshot;
  const auto volumes = view::stored_volumes(*context.indexed(), s);
  if (context.options().json) {
    Json json = snapshot_json(found.backup);
    json["volumes"] = Json::array();
    for (const view::StoredVolume& volume : volumes) {
      Json one = {{"volume", volume.str()},
                  {"image", volume.has_image},
                  {"image_size", volume.image_size},
                  {"files", volume.has_files}};
      if (volume.facts) one["facts"] = Json::parse(volume.facts->to_json());
      if (const auto record = view::load_base_record(*context.indexed(), s, "/" + volume.str()))
        if (Json base = base_json(*record); !base.empty()) one["base"] = std::move(base);
      json["volumes"].push_back(std::move(one));
    }
    context.print_json(dump(json));
    return app::ExitCode::ok;
  }
  const auto line = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) context.print(fmt::format("{:<16}{}", name, value));
  };
  line("backup", found.backup.id.hex());
  line("time", local_time(s.time));
  line("host", printable(s.hostname));
  line("user", printable(s.username));
  line("made by", printable(s.program_version));
  line("tags", joined(s.tags));
  if (s.incomplete) line("INCOMPLETE", "ranges or files are missing from it; see below");
  if (s.parent) line("parent", s.parent->short_hex());
  if (s.summary) {
    line("size", format_size(s.summary->total_bytes_processed));
    line("added", fmt::format("{}, stored as {}", format_size(s.summary->data_added),
                              format_size(s.summary->data_added_packed)));
  }
  for (const view::StoredVolume& volume : volumes) {
    context.print("");
    line("volume", printable(volume.str()));
    line("  image", volume.has_image ? format_size(volume.image_size) : std::string("none"));
    line("  files", volume.has_files ? "yes" : "no");
    if (!volume.facts) continue;
    const view::VolumeFacts& facts = *volume.facts;
    line("  kind", printable(facts.segment_type));
    line("  UUID", printable(facts.lv_uuid));
    line("  filesystem",
         printable(facts.filesystem +
                   (facts.filesystem_label.empty() ? "" : " \"" + facts.filesystem_label + "\"")));
    line("  read from", facts.how == "direct" ? std::string("the volume, which nobody could write")
                                              : fmt::format("snapshot {}", printable(facts.snapshot_name)));
    if (facts.cow_size && facts.cow_used)
      line("  COW store",
           fmt::format("{} of {} used", format_size(*facts.cow_used), format_size(*facts.cow_size)));
    if (const auto record = view::load_base_record(*context.indexed(), s, "/" + volume.str()))
      for (const std::string& words : base_words(*record)) line("  base", words);
    for (const view::LostRange& lost : facts.lost)
      line("  LOST", fmt::format("{} at byte {}: {}", format_size(lost.extent.length), lost.extent.offset,
                                 printable(lost.why)));
    for (const view::FileViewFacts& files : facts.file_views) {
      for (const std::string& note : files.notes)
        line("  note", fmt::format("{}: {}", printable(files.folder), printable(note)));
      for (const auto& finding : files.findings)
        line("  DAMAGED", fmt::format("{}{}{}: {}", printable(files.folder), finding.path.starts_with('/') ? "" : " ",
                                      printable(finding.path), printable(finding.what)));
      if (files.finding_count > files.findings.size())
        line("  DAMAGED", fmt::format("{}: {} more", printable(files.folder), files.finding_count - files.findings.size()));
    }
  }
  if (volumes.empty()) line("paths", joined(s.paths));
  return app::ExitCode::ok;
}

}  // namespace

Action configure_list(CLI::App& app) {
  auto options = std::make_shared<FilterWords>();
  add_filter_options(app, *options);
  return [options](app::Context& context) { return list(context, *options); };
}

Action configure_show(CLI::App& app) {
  auto selector = std::make_shared<std::string>();
  app.add_option("backup", *selector, "an ID, the beginning of one, latest, or latest:VG/LV")
      ->required()
      ->type_name("BACKUP");
  return [selector](app::Context& context) { return show(context, *selector); };
}

}  // namespace respaldo::cli
