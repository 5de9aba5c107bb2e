// diff: what changed between two backups.
#include <fmt/ranges.h>

#include "base/units.h"
#include "cli/command.h"
#include "cli/long_output.h"
#include "cli/path_fields.h"
#include "cli/shared.h"
#include "view/shown_path.h"
#include "view/tree_diff.h"

namespace respaldo::cli {

namespace {

struct DiffOptions {
  std::string before, after, path = "/";
  bool metadata = false;
};

// Counts, and prints as it goes.
class DiffReport {
 public:
  DiffReport(app::Context& context, const DiffOptions& options) : context_(context), options_(options), out_(context) {}

  void begin(const FoundBackup& before, const FoundBackup& after, const std::string& path) {
    if (!context_.options().json) return;
    Json head = {{"before", before.backup.id.hex()}, {"after", after.backup.id.hex()}};
    head.update(path_fields(path));
    std::string text = dump(head);
    text.pop_back();
    out_.write(text + ",\"changes\":[");
  }
  void difference(const view::Difference& difference) {
    count(difference);
    if (difference.change == view::Change::metadata && !options_.metadata) return;
    if (context_.options().json)
      print_json(difference);
    else
      print(difference);
  }
  void image(const view::ImageDifference& image) { images_.push_back(image); }
  void problem(const std::string& path, const Error& error) {
    out_.warn(fmt::format("{}: {}", path.empty() ? "/" : printable(path.substr(0, 1000)), error.what()));
    damaged_ = true;
  }
  app::ExitCode end() {
    if (context_.options().json)
      end_json();
    else
      end_text();
    out_.flush();
    return damaged_ ? app::ExitCode::failed : app::ExitCode::ok;
  }

 private:
  static bool is_folder(const repo::Node* node) { return node->type == repo::NodeType::dir; }

  void count(const view::Difference& difference) {
    switch (difference.change) {
      case view::Change::added:
        ++(is_folder(difference.after) ? folders_added_ : files_added_);
        bytes_added_ += difference.after->size;
        break;
      case view::Change::removed:
        ++(is_folder(difference.before) ? folders_removed_ : files_removed_);
        bytes_removed_ += difference.before->size;
        break;
      case view::Change::content:
      case view::Change::type:
        ++files_changed_;
        bytes_before_ += difference.before->size;
        bytes_after_ += difference.after->size;
        break;
      case view::Change::metadata:
        ++metadata_changed_;
        break;
    }
  }

  static const char* word(view::Change change) {
    constexpr const char* kWords[] = {"added", "removed", "content", "type", "metadata"};
    return kWords[static_cast<std::size_t>(change)];
  }

  void print(const view::Difference& difference) {
    constexpr char kSigns[] = "+-MTU";
    const repo::Node* before = difference.before;
    const repo::Node* after = difference.after;
    const auto size_of = [](const repo::Node* node) {
      return node->type == repo::NodeType::file ? format_size(node->size)
                                                : std::string(type_name(node->type));
    };
    std::string what;
    switch (difference.change) {
      case view::Change::added:
        what = size_of(after);
        break;
      case view::Change::removed:
        what = size_of(before);
        break;
      case view::Change::content:
        what = before->type == repo::NodeType::file
                   ? fmt::format("{} -> {}", format_size(before->size), format_size(after->size))
                   : size_of(after);
        break;
      case view::Change::type:
        what = fmt::format("{} -> {}", type_name(before->type), type_name(after->type));
        break;
      case view::Change::metadata:
        what = fmt::format("{}", fmt::join(view::metadata_changes(*before, *after), ", "));
        break;
    }
    out_.line(fmt::format("{} {}  ({})", kSigns[static_cast<std::size_t>(difference.change)], printable(difference.path), what));
  }

  void print_json(const view::Difference& difference) {
    Json json = {{"change", word(difference.change)}};
    json.update(path_fields(difference.path));
    if (difference.before != nullptr) {
      json["type_before"] = type_name(difference.before->type);
      json["size_before"] = difference.before->size;
    }
    if (difference.after != nullptr) {
      json["type_after"] = type_name(difference.after->type);
      json["size_after"] = difference.after->size;
    }
    if (difference.change == view::Change::metadata)
      json["metadata"] = view::metadata_changes(*difference.before, *difference.after);
    out_.write((first_ ? "" : ",") + dump(json));
    first_ = false;
  }

  void end_json() {
    Json images = Json::array();
    for (const view::ImageDifference& image : images_) {
      Json json = {{"volume", image.volume}};
      if (image.size_before) json["size_before"] = *image.size_before;
      if (image.size_after) json["size_after"] = *image.size_after;
      json["bytes_changed"] = image.bytes_changed;
      json["ranges_changed"] = image.ranges;
      images.push_back(std::move(json));
    }
    const Json rest = {{"images", images},
                       {"summary",
                        {{"files_added", files_added_},
                         {"files_removed", files_removed_},
                         {"files_changed", files_changed_},
                         {"folders_added", folders_added_},
                         {"folders_removed", folders_removed_},
                         {"metadata_changed", metadata_changed_},
                         {"bytes_added", bytes_added_},
                         {"bytes_removed", bytes_removed_},
                         {"changed_bytes_before", bytes_before_},
                         {"changed_bytes_after", bytes_after_}}}};
    out_.write("]," + dump(rest).substr(1) + "\n");
  }

  void end_text() {
    for (const view::ImageDifference& image : images_) {
      std::string what;
      if (!image.size_before)
        what = fmt::format("new, {}", format_size(*image.size_after));
      else if (!image.size_after)
        what = fmt::format("gone, {}", format_size(*image.size_before));
      else
        what = fmt::format("{} in {} {} changed, of {}", format_size(image.bytes_changed), image.ranges,
                           image.ranges == 1 ? "range" : "ranges", format_size(*image.size_after));
      if (image.size_before && image.size_after && *image.size_before != *image.size_after)
        what += fmt::format(" (was {})", format_size(*image.size_before));
      out_.line(fmt::format("image of {}: {}", printable(image.volume), what));
    }
    if (context_.options().verbosity == 0) return;
    out_.line(fmt::format("files: {} added ({}), {} removed ({}), {} changed ({} -> {}); metadata of {}",
                          files_added_, format_size(bytes_added_), files_removed_, format_size(bytes_removed_),
                          files_changed_, format_size(bytes_before_), format_size(bytes_after_), metadata_changed_));
    out_.line(fmt::format("folders: {} added, {} removed", folders_added_, folders_removed_));
  }

  app::Context& context_;
  const DiffOptions& options_;
  LongOutput out_;
  std::vector<view::ImageDifference> images_;
  std::uint64_t files_added_ = 0, files_removed_ = 0, files_changed_ = 0, metadata_changed_ = 0;
  std::uint64_t folders_added_ = 0, folders_removed_ = 0;
  std::uint64_t bytes_added_ = 0, bytes_removed_ = 0, bytes_before_ = 0, bytes_after_ = 0;
  bool first_ = true, damaged_ = false;
};

// Both backups are looked at from one place.
std::string start_path(const FoundBackup& before, const FoundBackup& after, const std::string& path) {
  const auto name_of = [](const FoundBackup& backup) {
    return backup.volume ? engine::VolumeName::parse(*backup.volume).str() : std::string();
  };
  const std::string first = name_of(before), second = name_of(after);
  if (!first.empty() && !second.empty() && first != second)
    throw Error(ErrorKind::usage, "two volumes cannot be compared, only two backups of one");
  const std::string& volume = first.empty() ? second : first;
  return !volume.empty() && path == "/" ? "/" + volume : path;
}

// As it is stored. The literal name comes first, whichever backup holds it.
std::string path_in_either(app::Context& context, const FoundBackup& before, const FoundBackup& after,
                           const std::string& path) {
  const auto in_before = view::find_shown(*context.indexed(), before.backup.snapshot, path);
  if (in_before && in_before->path == path) return path;
  const auto in_after = view::find_shown(*context.indexed(), after.backup.snapshot, path);
  if (in_after && in_after->path == path) return path;
  if (!in_before && !in_after)
    throw Error(ErrorKind::not_found, fmt::format("neither backup holds {}", printable(path)),
                "`respaldo ls` shows what there is");
  return in_before ? in_before->path : in_after->path;
}

app::ExitCode diff(app::Context& context, const DiffOptions& options) {
  const FoundBackup before = find_backup(context, options.before, Latest::of_readable);
  const FoundBackup after = find_backup(context, options.after, Latest::of_readable);
  const std::string path = path_in_either(context, before, after, start_path(before, after, options.path));
  const auto indexed = context.indexed();
  DiffReport report(context, options);
  report.begin(before, after, path);
  view::TreeDiff(*indexed, {[&](const view::Difference& one) { report.difference(one); },
                            [&](const view::ImageDifference& one) { report.image(one); },
                            [&](const std::string& at, const Error& error) { report.problem(at, error); }},
                 context.progress())
      .compare(before.backup.snapshot, after.backup.snapshot, path, context.stop());
  return report.end();
}

}  // namespace

Action configure_diff(CLI::App& app) {
  auto options = std::make_shared<DiffOptions>();
  app.add_option("before", options->before, "an ID, the beginning of one, latest, or latest:VG/LV")
      ->required()
      ->type_name("BEFORE");
  app.add_option("after", options->after, "the other backup")->required()->type_name("AFTER");
  app.add_option("path", options->path, "a folder or file in both")->type_name("PATH")->capture_default_str();
  app.add_flag("--metadata", options->metadata, "list files of which only metadata changed, too (U)");
  return [options](app::Context& context) { return diff(context, *options); };
}

}  // namespace respaldo::cli
