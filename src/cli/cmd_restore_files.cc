#include <algorithm>

#include "base/printable.h"
#include "base/units.h"
#include "cli/path_fields.h"
#include "cli/restore_files.h"
#include "cli/restore_volume.h"
#include "cli/shared.h"
#include "restore/file_restore.h"
#include "restore/path_selection.h"
#include "view/shown_path.h"

namespace respaldo::cli {

namespace {

bool is_folder(const repo::Node& node) {
  return node.type == repo::NodeType::dir && node.subtree.has_value();
}

// partN, as the folders of the partitions inside a volume are called.
bool is_part(const std::string& name) {
  return name.size() > 4 && name.starts_with("part") &&
         name.find_first_not_of("0123456789", 4) == std::string::npos;
}

repo::Node node_at(app::Context& context, const FoundBackup& found, const std::string& path) {
  auto node = view::find_node(*context.indexed(), found.backup.snapshot, path);
  if (!node)
    throw Error(ErrorKind::corrupt, fmt::format("the backup holds no {}", printable(path)),
                "run: respaldo check");
  return std::move(*node);
}

// As `ls` and `find` show paths: from the top of the backup. What the volume itself holds under such a name comes first.
std::string below_root(app::Context& context, const FoundBackup& found, const std::string& root, const std::string& path) {
  const std::string shown = path.starts_with('/') ? path : "/" + path;
  if (shown != root && !shown.starts_with(root + "/")) return path;
  if (view::find_shown(*context.indexed(), found.backup.snapshot, root + shown)) return path;
  return shown.substr(root.size());
}

FileRoot root_of_volume(app::Context& context, const FoundBackup& found, const view::StoredVolume& volume,
                        const std::vector<std::string>& paths) {
  FileRoot root;
  root.what = volume.str();
  root.title = title_of(found.backup, volume);
  root.paths = paths;
  const std::string top = volume.has_files ? volume.tree_path + "/" + std::string(view::kFilesName) : volume.tree_path;
  for (std::string& path : root.paths) path = below_root(context, found, top, path);
  if (volume.has_files) {
    root.node = node_at(context, found, top);
    return root;
  }
  root.node = node_at(context, found, volume.tree_path);
  // The folder of the volume is not a stored one: the target keeps its own metadata.
  root.node.mode = 0;
  std::vector<std::string> parts;
  for (const repo::Node& part : context.indexed()->load_tree(*root.node.subtree).nodes) {
    if (!is_folder(part) || !is_part(part.name)) continue;
    for (const repo::Node& child : context.indexed()->load_tree(*part.subtree).nodes)
      if (child.name == view::kFilesName && is_folder(child)) parts.push_back(part.name + "/" + child.name);
  }
  if (parts.empty())
    throw Error(ErrorKind::unsupported,
                fmt::format("the backup of {} holds no files, only the image", printable(volume.str())),
                "restore the image (--to, --to-file), or look into it: respaldo export --raw, then mount it");
  // The image beside them is none of its files.
  const auto tops = std::ranges::remove_if(root.paths, restore::names_top);
  const bool all = root.paths.empty() || !tops.empty();
  root.paths.erase(tops.begin(), tops.end());
  if (all) root.paths.insert(root.paths.end(), parts.begin(), parts.end());
  return root;
}

// Paths that are written as they were shown. What is not there is told later.
FileRoot as_stored(app::Context& context, FileRoot root) {
  for (std::string& path : root.paths)
    if (auto place = view::find_shown(*context.indexed(), root.node, path)) path = std::move(place->path);
  return root;
}

// What the backup itself says of its files.
void warn_of_findings(app::Context& context, const view::StoredVolume& volume) {
  if (!volume.facts) return;
  for (const view::FileViewFacts& view : volume.facts->file_views) {
    if (view.finding_count > 0)
      context.warn(
          fmt::format("{} of {} were found damaged when the backup was made: they may be missing ({})",
                      view.finding_count == 1 ? "1 thing" : fmt::format("{} things", view.finding_count),
                      printable(volume.str() + "/" + view.folder), "volume.json names them"));
  }
}

restore::Overwrite overwrite_of(const std::string& word) {
  if (word == "if-changed") return restore::Overwrite::if_changed;
  if (word == "never") return restore::Overwrite::never;
  return restore::Overwrite::always;
}

Json kept_top(const restore::FileRestoreResult& result) {
  if (!result.kept_top) return nullptr;
  const restore::KeptTop& kept = *result.kept_top;
  return {{"uid", kept.uid},
          {"gid", kept.gid},
          {"mode", kept.mode},
          {"stored_uid", kept.stored_uid},
          {"stored_gid", kept.stored_gid},
          {"stored_mode", kept.stored_mode}};
}

void report(app::Context& context, const RestoreFilesOptions& options, const repo::NamedSnapshot& backup, const FileRoot& root,
            const restore::FileRestoreResult& result) {
  if (context.options().json) {
    Json json = fields_of(backup);
    json.update(Json{{"source", root.what},
                     {"target", options.target},
                     {"files", result.files},
                     {"folders", result.folders},
                     {"others", result.others},
                     {"kept", result.kept},
                     {"kept_different", result.kept_different},
                     {"bytes_written", result.bytes_written},
                     {"bytes_zero", result.bytes_zero},
                     {"without_owner", result.without_owner},
                     {"without_xattrs", result.without_xattrs},
                     {"without_device", result.without_device},
                     {"target_kept", kept_top(result)},
                     {"problem_count", result.problem_count},
                     {"problems", problem_list(result.problems)},
                     {"no_space", result.no_space ? path_fields(result.no_space->path, {{"why", result.no_space->why}}) : Json()},
                     {"seconds", result.seconds}});
    context.print_json(dump(json));
    return;
  }
  if (context.options().verbosity > 0)
    context.print(fmt::format(
        "restored {} into {}: {}, {}, {}{}; written {}, holes {}; {}", root.title,
        printable(options.target), counted(result.files, "file"), counted(result.folders, "folder"),
        counted(result.others, "other"),
        result.kept > 0 ? fmt::format(", {} left alone", result.kept) : "", format_size(result.bytes_written),
        format_size(result.bytes_zero), format_duration(result.seconds)));
  tell_problems(context, result.problems, result.problem_count);
}

void warn_of_missing_metadata(app::Context& context, const restore::FileRestoreResult& result) {
  std::string text;
  const auto add = [&](std::uint64_t count, const char* what) {
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, what);
  };
  add(result.without_owner, "without their owner");
  add(result.without_xattrs, "without some extended attributes");
  add(result.without_device, "devices not made");
  if (!text.empty()) context.warn(fmt::format("not allowed here: {} (root may set them)", text));
}

void warn_of_kept_different(app::Context& context, restore::Overwrite overwrite, const restore::FileRestoreResult& result) {
  if (result.kept_different == 0) return;
  std::string names;
  for (const std::string& name : result.kept_different_named)
    names += (names.empty() ? "" : ", ") + printable(name);
  if (result.kept_different > result.kept_different_named.size()) names += ", ...";
  context.warn(fmt::format("{} of {} things that were left alone differ from the backup{}: {} ({})", result.kept_different,
                           result.kept, overwrite == restore::Overwrite::never ? "" : " in owner or mode", names,
                           overwrite == restore::Overwrite::never
                               ? "--overwrite if-changed brings them back; a restore that was killed leaves such"
                               : "they are somebody else's, or have further names; --overwrite always brings them back"));
}

void warn_of_kept_top(app::Context& context, const std::string& target, const restore::FileRestoreResult& result) {
  if (!result.kept_top) return;
  const restore::KeptTop& kept = *result.kept_top;
  context.warn(fmt::format(
      "{} was there before and keeps its owner {}:{} and mode {:04o}; stored are {}:{} and {:04o} (to set them: restore into "
      "an empty folder, or chown {}:{} and chmod {:04o})",
      printable(target), kept.uid, kept.gid, kept.mode, kept.stored_uid, kept.stored_gid, kept.stored_mode, kept.stored_uid,
      kept.stored_gid, kept.stored_mode));
}

}  // namespace

void tell_problems(app::Context& context, const std::vector<restore::FileProblem>& problems, std::uint64_t count) {
  for (const auto& problem : problems)
    context.world().err(fmt::format("problem: {}: {}\n",
                                    problem.path.empty() ? "the folder itself" : printable(problem.path),
                                    printable(problem.why)));
  if (count > problems.size())
    context.world().err(fmt::format("problem: {} more are not listed\n", count - problems.size()));
}

FileRoot find_file_root(app::Context& context, const FoundBackup& found, const std::string& volume_option,
                        const std::vector<std::string>& paths) {
  // What a script makes of an unset variable must not mean everything.
  if (std::ranges::find(paths, "") != paths.end())
    throw Error(ErrorKind::usage, "a path is empty", "for everything give no path, or /");
  const bool named = found.volume || !volume_option.empty();
  if (!named) {
    bool restic = false;
    try {
      restic = view::stored_volumes(*context.indexed(), found.backup.snapshot).empty();
    } catch (const Error&) {
      // Damage somewhere in a backup of restic's need not be in what is wanted.
      if (found.backup.snapshot.program_version.starts_with("respaldo")) throw;
      restic = true;
    }
    if (restic)
      return as_stored(context, {node_at(context, found, "/"), paths, "backup " + found.backup.id.short_hex(), title_of(found.backup)});
  }
  const view::StoredVolume volume = find_volume(context, found, volume_option);
  warn_of_findings(context, volume);
  return as_stored(context, root_of_volume(context, found, volume, paths));
}

app::ExitCode restore_files(app::Context& context, const RestoreFilesOptions& options) {
  const auto lock = lock_for_reading(context);
  const FoundBackup found = find_backup(context, options.backup, Latest::certain, options.host);
  const FileRoot root = find_file_root(context, found, options.volume, options.paths);
  restore::FileRestoreOptions how;
  how.paths = root.paths;
  how.overwrite = overwrite_of(options.overwrite);
  how.threads = options.threads;
  const auto result = restore::restore_files(*context.indexed(), root.node, options.target, how,
                                             context.progress(), context.stop());
  report(context, options, found.backup, root, result);
  warn_of_missing_metadata(context, result);
  warn_of_kept_different(context, how.overwrite, result);
  warn_of_kept_top(context, options.target, result);
  if (result.no_space)
    throw Error(ErrorKind::no_space,
                fmt::format("{} is not complete: no room was left {}{}", printable(options.target),
                            result.no_space->path.empty() ? "for what was written" : "for ", printable(result.no_space->path)),
                "make room; the same command with --overwrite if-changed then goes on");
  if (result.problem_count == 0) return app::ExitCode::ok;
  context.warn(fmt::format("{} {} not, or not wholly, be brought back", result.problem_count,
                           result.problem_count == 1 ? "entry could" : "entries could"));
  return app::ExitCode::failed;
}

}  // namespace respaldo::cli
