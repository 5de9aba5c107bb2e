// export: a backup in forms that other tools take.
#include <fcntl.h>
#include <sys/stat.h>

#include <optional>

#include "base/printable.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/overwrite.h"
#include "cli/path_fields.h"
#include "cli/restore_files.h"
#include "cli/restore_image.h"
#include "os/output_stream.h"
#include "restore/image_restore.h"
#include "restore/tar_export.h"

namespace respaldo::cli {

namespace {

struct ExportOptions {
  std::string backup, host, volume, raw, tar;
  std::vector<std::string> paths;
  bool yes = false;
};

app::ExitCode export_image(app::Context& context, const ExportOptions& options) {
  if (options.raw != "-")
    return restore_image_to_file(context, {.backup = options.backup,
                                           .host = options.host,
                                           .volume = options.volume,
                                           .file = options.raw,
                                           .yes = options.yes});
  const auto lock = lock_for_reading(context);
  const FoundBackup found = find_backup(context, options.backup, Latest::certain, options.host);
  const view::StoredVolume volume = find_volume(context, found, options.volume);
  warn_of_losses(context, volume);
  restore::stream_image(
      *context.indexed(), volume, [&](ByteView bytes) { write_out(context, bytes); }, context.progress(),
      context.stop());
  return app::ExitCode::ok;
}

void report(app::Context& context, const ExportOptions& options, const repo::NamedSnapshot& backup, const FileRoot& root,
            const restore::TarResult& result) {
  if (options.tar != "-" && context.options().json) {
    Json json = fields_of(backup);
    json.update(Json{{"source", root.what},
                     {"target", options.tar},
                     {"entries", result.entries},
                     {"bytes", result.bytes},
                     {"sockets", result.sockets},
                     {"problem_count", result.problem_count},
                     {"problems", problem_list(result.problems)}});
    context.print_json(dump(json));
  } else if (options.tar != "-" && context.options().verbosity > 0) {
    context.print(fmt::format("wrote the files of {} to {}: {} entries, {} of contents", root.title,
                              printable(options.tar), result.entries, format_size(result.bytes)));
  }
  if (result.sockets > 0)
    context.warn(fmt::format("{} sockets were left out: tar has no place for them", result.sockets));
  if (!context.options().json)
    tell_problems(context, result.problems, result.problem_count);
  else if (options.tar == "-")
    for (const auto& problem : result.problems)
      context.world().err(dump(path_fields(problem.path, {{"event", "problem"}, {"why", problem.why}})) + "\n");
  if (result.problem_count > 0)
    context.warn(fmt::format("{} {} left out, or not whole", result.problem_count,
                             result.problem_count == 1 ? "entry was" : "entries were"));
}

app::ExitCode export_files(app::Context& context, const ExportOptions& options) {
  restore::TarOptions how;
  how.compression = restore::tar_compression(options.tar);
  struct stat st {};
  const bool exists = options.tar != "-" && ::stat(options.tar.c_str(), &st) == 0;
  const auto lock = lock_for_reading(context);
  const FoundBackup found = find_backup(context, options.backup, Latest::certain, options.host);
  const auto claim = exists && S_ISREG(st.st_mode)
                         ? claim_to_overwrite(context, options.tar, options.yes, "files of " + title_of(found.backup))
                         : nullptr;
  const FileRoot root = find_file_root(context, found, options.volume, options.paths);
  how.paths = root.paths;

  std::optional<os::AtomicFile> file;  // it gets its name when it is whole
  std::optional<os::OutputStream> stream;
  if (exists && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode))) {
    stream.emplace(os::Path(options.tar), context.stop());
  } else if (options.tar != "-") {
    file.emplace(options.tar, 0600);
  }
  const auto sink = [&](ByteView bytes) {
    if (file) {
      file->write(bytes);
    } else if (stream) {
      stream->write(bytes);
    } else {
      write_out(context, bytes);
    }
  };
  const restore::TarResult result =
      restore::export_tar(*context.indexed(), root.node, how, sink, context.progress(), context.stop());
  if (file) {
    if (exists) {
      warn_of_other_names(context, options.tar);
      file->look_like_replaced();
    }
    file->commit();
  }
  report(context, options, found.backup, root, result);
  return result.problem_count == 0 ? app::ExitCode::ok : app::ExitCode::failed;
}

}  // namespace

Action configure_export(CLI::App& app) {
  auto options = std::make_shared<ExportOptions>();
  app.add_option("backup", options->backup, kBackupHelp)->required()->type_name("BACKUP");
  add_host_option(app, options->host);
  app.add_option("path", options->paths, "with --tar: what to put into it; all files when none is given")
      ->type_name("PATH");
  app.add_option("--volume", options->volume, "which volume of the backup, when it holds several")
      ->type_name("VG/LV");
  app.add_option("--raw", options->raw, "the image, into a sparse file, or - for standard output")
      ->type_name("FILE|-");
  app.add_option("--tar", options->tar,
                 "the files, as a tar archive; compressed when its name ends with .gz, .zst or .xz")
      ->type_name("FILE|-");
  app.add_flag("-y,--yes", options->yes, "do not ask before overwriting");
  return [options](app::Context& context) {
    if (options->raw.empty() == options->tar.empty())
      throw Error(ErrorKind::usage, "say what to export", "give either --raw FILE or --tar FILE");
    if (!options->raw.empty() && !options->paths.empty())
      throw Error(ErrorKind::usage, "an image has no paths", "--tar takes them");
    return options->raw.empty() ? export_files(context, *options) : export_image(context, *options);
  };
}

}  // namespace respaldo::cli
