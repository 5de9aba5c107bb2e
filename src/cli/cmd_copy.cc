#include "app/source.h"
#include "base/units.h"
#include "care/copy.h"
#include "cli/care_commands.h"
#include "cli/care_options.h"
#include "cli/threads_option.h"

#include <thread>

namespace respaldo::cli {

namespace {

struct Options {
  std::vector<std::string> ids;
  FilterWords filter;
  app::SourceOptions source;
  unsigned threads = 0;
};

app::ExitCode copy(app::Context& context, const Options& options) {
  const care::BackupFilter filter = options.filter.filter();
  const auto source = app::open_source(context, options.source);
  context.expect_to_write();
  repo::Repository& target = context.repository();
  if (source->config().id == target.config().id)
    throw Error(ErrorKind::usage, "source and target are the same repository",
                "--from-repo names the source");
  const auto source_lock = lock_for_reading(context, *source);
  // --no-lock is for the source.
  const std::chrono::seconds patience(context.options().lock_patience_seconds.value_or(0));
  const auto lock = repo::RepoLock::acquire(target, repo::LockKind::shared, patience, context.stop());
  if (source->config().polynomial != target.config().polynomial)
    context.progress().note(
        "the repositories cut files at different places: what restic itself backs up to both is not "
        "deduplicated "
        "between them; what respaldo backs up is");
  std::vector<std::string> damaged;
  const auto all = source->snapshots(&damaged);
  for (const std::string& problem : damaged) context.warn(problem);
  const auto selected = select_backups(all, options.ids, filter);
  warn_if_none_fits(context, all.size(), selected.size());
  const repo::IndexedRepository from(*source,
                                     source->load_index(context.progress(), nullptr, context.stop()));
  const repo::IndexedRepository to(target, target.load_stored_index(context.progress(), context.stop()));
  const unsigned threads =
      options.threads != 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  const care::CopyReport report =
      care::copy_backups(from, to, selected, threads, context.progress(), context.stop(),
                         [&] { lock->require(); });
  std::size_t fresh = 0;
  for (const care::CopiedBackup& backup : report.backups) fresh += !backup.was_there;
  if (context.options().json) {
    Json json = {{"backups", Json::array()},
                 {"new_blobs", report.new_blobs},
                 {"new_bytes", report.new_bytes},
                 {"stored_bytes", report.stored_bytes}};
    for (const care::CopiedBackup& backup : report.backups)
      json["backups"].push_back(
          {{"from", backup.from.hex()}, {"to", backup.to.hex()}, {"was_there", backup.was_there}});
    context.print_json(dump(json));
  } else if (context.options().verbosity > 0) {
    for (const care::CopiedBackup& backup : report.backups)
      context.print(fmt::format("{} -> {}{}", backup.from.short_hex(), backup.to.short_hex(),
                                backup.was_there ? ", which was there" : ""));
    context.print(fmt::format("{} copied, {} already there; {}, {} stored", counted(fresh, "backup"),
                              report.backups.size() - fresh, counted(report.new_blobs, "new blob"),
                              format_size(report.stored_bytes)));
  }
  // Nobody can tell whether what is damaged was asked for.
  return damaged.empty() ? app::ExitCode::ok : app::ExitCode::damaged;
}

}  // namespace

Action configure_copy(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("backups", options->ids, "the backups to copy; all, when none is named")
      ->type_name("BACKUP");
  app.add_option("--from-repo", options->source.repository,
                 "the source [$RESPALDO_FROM_REPOSITORY, $RESTIC_FROM_REPOSITORY]")
      ->type_name("REPO");
  app.add_option("--from-password-file", options->source.password_file,
                 "a file that holds the source's password")
      ->type_name("FILE");
  app.add_option("--from-password-command", options->source.password_command,
                 "a command that prints the source's password")
      ->type_name("COMMAND");
  add_filter_options(app, options->filter);
  add_threads_option(app, options->threads);
  return [options](app::Context& context) { return copy(context, *options); };
}

}  // namespace respaldo::cli
