// find: files in all backups.
#include "cli/command.h"
#include "cli/long_output.h"
#include "cli/path_fields.h"
#include "cli/shared.h"
#include "os/thread_group.h"
#include "view/find.h"
#include "view/shown_path.h"

namespace respaldo::cli {

namespace {

struct FindOptions {
  std::vector<std::string> patterns, backups;
  std::string types, size, newer, older, path = "/";
  bool ignore_case = false, long_form = false;
};

std::vector<repo::NodeType> parse_types(const std::string& letters) {
  using repo::NodeType;
  std::vector<NodeType> types;
  for (const char letter : letters) {
    switch (letter) {
      case 'f':
        types.push_back(NodeType::file);
        break;
      case 'd':
        types.push_back(NodeType::dir);
        break;
      case 'l':
        types.push_back(NodeType::symlink);
        break;
      case 'b':
        types.push_back(NodeType::dev);
        break;
      case 'c':
        types.push_back(NodeType::chardev);
        break;
      case 'p':
        types.push_back(NodeType::fifo);
        break;
      case 's':
        types.push_back(NodeType::socket);
        break;
      case ',':
        break;
      default:
        throw Error(
            ErrorKind::usage, fmt::format("{} is no type of file", printable(letters)),
            "f file, d folder, l symbolic link, b block device, c character device, p pipe, s socket; "
            "several as in f,l");
    }
  }
  return types;
}

view::FindQuery query_of(const FindOptions& options) {
  view::FindQuery query;
  query.patterns = options.patterns;
  query.ignore_case = options.ignore_case;
  query.types = parse_types(options.types);
  if (!options.size.empty()) query.size = view::SizeTest::parse(options.size);
  if (!options.newer.empty()) query.newer = parse_local_time(options.newer);
  if (!options.older.empty()) query.older = parse_local_time(options.older);
  return query;
}

// Prints what is found, backup by backup.
class FindReport {
 public:
  FindReport(app::Context& context, bool long_form)
      : out_(context), json_(context.options().json), long_form_(long_form) {}
  void begin(const repo::NamedSnapshot& backup) {
    backup_ = &backup;
    in_backup_ = false;
  }
  void entry(const std::string& path, const view::FoundEntry& entry) {
    if (!in_backup_) head();
    if (json_) {
      out_.write((first_entry_ ? "" : ",") + dump(entry_json(path, entry)));
      first_entry_ = false;
    } else {
      out_.line(long_form_ ? long_line(entry, path) : printable(path));
    }
  }
  void end() {
    if (json_ && in_backup_) out_.write("]}");
  }
  void warn(std::string_view text) { out_.warn(text); }
  void finish() {
    if (json_) out_.write(first_backup_ ? "[]\n" : "]\n");
    out_.flush();
  }

 private:
  void head() {
    const repo::Snapshot& snapshot = backup_->snapshot;
    if (json_) {
      std::string text = dump({{"id", backup_->id.hex()},
                               {"short_id", backup_->id.short_hex()},
                               {"time", format_time(snapshot.time)},
                               {"hostname", snapshot.hostname},
                               {"paths", snapshot.paths}});
      text.pop_back();
      out_.write((first_backup_ ? "[" : ",") + text + ",\"matches\":[");
    } else {
      std::string paths;
      for (const std::string& path : snapshot.paths) paths += "  " + printable(path);
      out_.line(fmt::format("{}backup {} of {}  {}{}", first_backup_ ? "" : "\n",
                            backup_->id.short_hex(), local_time(snapshot.time), printable(snapshot.hostname), paths));
    }
    in_backup_ = first_entry_ = true;
    first_backup_ = false;
  }
  LongOutput out_;
  const bool json_, long_form_;
  const repo::NamedSnapshot* backup_ = nullptr;
  bool in_backup_ = false, first_backup_ = true, first_entry_ = true;
};

// A backup, and where in it to begin.
struct Start {
  repo::NamedSnapshot backup;
  std::string path;
};

std::vector<Start> starts(app::Context& context, const FindOptions& options) {
  std::vector<Start> all;
  if (options.backups.empty()) {
    std::vector<std::string> damaged;
    for (repo::NamedSnapshot& backup : context.repository().snapshots(&damaged))
      all.push_back({std::move(backup), options.path});
    for (const std::string& problem : damaged) context.warn(problem);
    return all;
  }
  for (const std::string& selector : options.backups) {
    FoundBackup found = find_backup(context, selector, Latest::of_readable);
    std::string path = options.path;
    if (found.volume && path == "/") path = "/" + engine::VolumeName::parse(*found.volume).str();
    all.push_back({std::move(found.backup), std::move(path)});
  }
  return all;
}

app::ExitCode find(app::Context& context, const FindOptions& options) {
  context.look_ahead(true);
  const view::FindMatcher matcher(query_of(options));
  const std::vector<Start> all = starts(context, options);
  const auto indexed = context.indexed();
  view::Finder finder(*indexed, matcher);
  FindReport report(context, options.long_form);
  bool damaged = false, exists = all.empty() || options.path == "/";
  for (const Start& start : all) {
    const auto problem = [&](const std::string& path, const Error& error) {
      report.warn(fmt::format("backup {}: {}: {}", start.backup.id.short_hex(),
                              path.empty() ? "/" : printable(path.substr(0, 1000)), error.what()));
      damaged = true;
    };
    std::optional<view::FoundPath> place;
    try {
      place = view::find_shown(*indexed, start.backup.snapshot, start.path);
    } catch (const Error& error) {
      problem(start.path, error);
      exists = true;
    }
    if (!place) continue;
    exists = true;
    report.begin(start.backup);
    finder.find(
        place->node, place->path,
        [&](const std::string& path, const view::FoundEntry& entry) { report.entry(path, entry); }, problem,
        context.stop());
    report.end();
  }
  if (!exists)
    throw Error(ErrorKind::not_found, fmt::format("no backup holds {}", printable(options.path)),
                "`respaldo ls` shows what there is");
  report.finish();
  return damaged ? app::ExitCode::failed : app::ExitCode::ok;
}

}  // namespace

Action configure_find(CLI::App& app) {
  auto options = std::make_shared<FindOptions>();
  app.add_option("pattern", options->patterns,
                 "shell patterns on the name, or with a / on the path; one must fit; none: everything")
      ->type_name("PATTERN");
  app.add_option("--backup", options->backups,
                 "only in this backup (an ID or latest); may be given several times")
      ->type_name("BACKUP")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1)
      ->allow_extra_args(false);
  app.add_option("--path", options->path, "begin at this folder of the backups")
      ->type_name("PATH")
      ->capture_default_str();
  app.add_flag("-i,--ignore-case", options->ignore_case, "upper and lower case are the same");
  app.add_option("--type", options->types,
                 "f file, d folder, l link, b, c devices, p pipe, s socket; several: f,l")
      ->type_name("TYPE");
  app.add_option("--size", options->size, "files of more than +SIZE, less than -SIZE, or exactly SIZE")
      ->type_name("[+|-]SIZE");
  app.add_option("--newer", options->newer, "changed at this time or later: YYYY-MM-DD[ HH:MM[:SS]]")
      ->type_name("TIME");
  app.add_option("--older", options->older, "changed before this time")->type_name("TIME");
  app.add_flag("-l,--long", options->long_form, "with mode, owner, size and time");
  return [options](app::Context& context) { return find(context, *options); };
}

}  // namespace respaldo::cli
