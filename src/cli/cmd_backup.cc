#include "backup/backup.h"

#include "base/printable.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/hook_options.h"
#include "cli/shared.h"
#include "repo/host.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::vector<std::string> volumes, tags;
  bool from_snapshot = false, raw = false, all_blocks = false, dry_run = false, verify_all = false;
  std::string cow, host, on_read_error = "fail", compression = "auto", pack_size;
  unsigned threads = 0;
  HookOptions hooks;
};

int compression_level(const std::string& word) {
  if (word == "auto") return 0;
  if (word == "fast") return 1;
  if (word == "max") return 19;
  throw Error(ErrorKind::usage, fmt::format("'{}' is not a compression", word), "use auto, fast or max");
}

backup::BackupOptions translate(const Options& options) {
  backup::BackupOptions result;
  for (const std::string& volume : options.volumes)
    result.volumes.push_back(engine::VolumeName::parse(volume));
  result.from_snapshot = options.from_snapshot;
  if (!options.cow.empty() && options.cow != "auto") result.cow_size = parse_size(options.cow, "--cow", kMiB);
  result.raw = options.raw;
  result.all_blocks = options.all_blocks;
  result.tags = options.tags;
  result.hostname = options.host.empty() ? repo::this_host() : options.host;
  result.username = repo::this_user();
  result.program_version = fmt::format("respaldo {}", app::kVersion);
  result.on_read_error =
      options.on_read_error == "skip" ? backup::OnReadError::skip : backup::OnReadError::fail;
  result.writer.compression_level = compression_level(options.compression);
  if (!options.pack_size.empty()) {
    result.writer.pack_size = parse_size(options.pack_size, "--pack-size", kMiB);
    if (result.writer.pack_size < 4 * kMiB || result.writer.pack_size > 128 * kMiB)
      throw Error(ErrorKind::usage, "--pack-size must lie between 4M and 128M");
  }
  if (options.verify_all) result.writer.verify_every = 1;
  result.threads = options.threads;
  result.dry_run = options.dry_run;
  return result;
}

Json volume_json(const backup::VolumeResult& volume) {
  Json json = Json::parse(volume.facts.to_json());
  json["bytes_read"] = volume.bytes_read;
  json["bytes_zero"] = volume.bytes_zero;
  return json;
}

void report_files(app::Context& context, const view::VolumeFacts& facts) {
  constexpr std::size_t kMostShown = 10;
  for (const view::FileViewFacts& view : facts.file_views) {
    const std::string where = fmt::format("{}/{}/{}", printable(facts.vg), printable(facts.lv), view.folder);
    if (view.journal == "replayed") context.print(fmt::format("{}: as after recovery of the journal", where));
    if (view.encrypted_folders > 0)
      context.warn(fmt::format("{}: {} encrypted folders are in the image only: their names cannot be told",
                               where, view.encrypted_folders));
    for (std::size_t i = 0; i < std::min(view.findings.size(), kMostShown); ++i)
      context.warn(fmt::format("{}{}{}: {}", where, view.findings[i].path.starts_with('/') ? "" : " ",
                               printable(view.findings[i].path), printable(view.findings[i].what)));
    if (view.finding_count > kMostShown)
      context.warn(
          fmt::format("{}: {} more of the kind; `respaldo cat BACKUP /{}/{}/volume.json` lists the first 100",
                      where, view.finding_count - kMostShown, printable(facts.vg), printable(facts.lv)));
  }
}

void report(app::Context& context, const backup::BackupSummary& summary) {
  std::uint64_t total = 0;
  for (const backup::VolumeResult& volume : summary.volumes) total += volume.facts.size;
  if (context.options().json) {
    Json json = {{"backup", summary.id ? Json(summary.id->hex()) : Json()},
                 {"volumes", Json::array()},
                 {"new_blobs", summary.totals.data_blobs + summary.totals.tree_blobs},
                 {"new_bytes", summary.totals.new_bytes},
                 {"stored_bytes", summary.totals.packed_bytes},
                 {"known_bytes", summary.totals.known_bytes},
                 {"total_bytes", total},
                 {"seconds", summary.seconds},
                 {"incomplete", summary.incomplete}};
    for (const backup::VolumeResult& volume : summary.volumes) json["volumes"].push_back(volume_json(volume));
    context.print_json(dump(json));
    return;
  }
  if (context.options().verbosity == 0) {
    if (summary.id) context.print(summary.id->short_hex());
    return;
  }
  for (const backup::VolumeResult& volume : summary.volumes) {
    const view::VolumeFacts& facts = volume.facts;
    std::string line = fmt::format("{}/{}: {}, {} read", printable(facts.vg), printable(facts.lv),
                                   format_size(facts.size), format_size(volume.bytes_read));
    if (!facts.filesystem.empty()) line += fmt::format(", {}", facts.filesystem);
    if (!facts.snapshot_name.empty())
      line += fmt::format(", from {}snapshot {}", facts.how == "given" ? "" : "its own ",
                          printable(facts.snapshot_name));
    if (facts.cow_used && facts.cow_size && *facts.cow_size > 0)
      line += fmt::format(" ({:.1f}% of {} used)",
                          100.0 * static_cast<double>(*facts.cow_used) / static_cast<double>(*facts.cow_size),
                          format_size(*facts.cow_size));
    if (facts.free_bytes > 0) line += fmt::format(", {} free stored as zeros", format_size(facts.free_bytes));
    context.print(line);
    report_files(context, facts);
    for (const view::LostRange& lost : facts.lost)
      context.warn(fmt::format("{}/{}: {} at byte {} could not be read and are stored as zeros: {}",
                               printable(facts.vg), printable(facts.lv), format_size(lost.extent.length),
                               lost.extent.offset, printable(lost.why)));
  }
  context.print(fmt::format("{} in {}: {}; new: {}, stored as {}", format_size(total),
                            format_duration(summary.seconds),
                            format_rate(static_cast<double>(total) / std::max(summary.seconds, 1e-3)),
                            format_size(summary.totals.new_bytes), format_size(summary.totals.packed_bytes)));
  if (summary.id)
    context.print(
        fmt::format("backup {} saved{}", summary.id->short_hex(), summary.incomplete ? ", INCOMPLETE" : ""));
  else
    context.print("dry run: nothing was saved");
}

app::ExitCode run(app::Context& context, const Options& options) {
  backup::BackupOptions plan = translate(options);
  const config::Hooks hooks = hooks_of(options.hooks);
  engine::VolumeEngine& engine = context.engine();
  for (const engine::VolumeName& name : plan.volumes) engine.find(name);  // before a password is asked for
  for (const std::string& warning : engine.warnings()) context.warn(warning);
  const auto lock = lock_repository(context, repo::LockKind::shared);
  const auto indexed = context.indexed();
  const auto still_locked = [&] {
    if (lock->lost())
      throw Error(ErrorKind::busy, "the lock on the repository could not be refreshed",
                  "nothing was saved; run again");
  };
  const backup::BackupSummary summary = run_with_hooks(context, hooks, plan, [&] {
    return backup::run_backup(engine, *indexed, plan, context.progress(), still_locked, context.stop());
  });
  for (const std::string& warning : summary.warnings) context.warn(warning);
  report(context, summary);
  return summary.incomplete ? app::ExitCode::incomplete : app::ExitCode::ok;
}

}  // namespace

Action configure_backup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("volumes", options->volumes, "volumes to save, as VG/LV")->required()->type_name("VG/LV");
  app.add_flag("--from-snapshot", options->from_snapshot, "the names are of snapshots that exist already");
  app.add_option("--cow", options->cow,
                 "size of the snapshot's COW store (10G); chosen by respaldo when left out")
      ->type_name("SIZE");
  app.add_flag("--raw", options->raw, "the image view alone: do not look for files");
  app.add_flag("--all-blocks", options->all_blocks,
               "store what the filesystem calls free, too, instead of zeros");
  app.add_option("--tag", options->tags, "a tag for the backup; may be given several times")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1)
      ->type_name("TAG");
  app.add_option("--host", options->host, "host name to record instead of this machine's")->type_name("NAME");
  app.add_option("--on-read-error", options->on_read_error,
                 "fail, or skip: save the rest and say what is lost")
      ->check(CLI::IsMember({"fail", "skip"}))
      ->capture_default_str();
  app.add_option("--compression", options->compression, "auto, fast or max")
      ->check(CLI::IsMember({"auto", "fast", "max"}))
      ->capture_default_str();
  app.add_option("--pack-size", options->pack_size, "target size of pack files, 4M to 128M [16M]")
      ->type_name("SIZE");
  app.add_flag("--verify-all", options->verify_all,
               "read back every new blob before it is stored, not one in eight");
  app.add_option("--threads", options->threads, "worker threads; 0: one for each core")
      ->capture_default_str();
  app.add_flag("-n,--dry-run", options->dry_run, "read and count, save nothing");
  add_hook_options(app, options->hooks);
  return [options](app::Context& context) { return run(context, *options); };
}

}  // namespace respaldo::cli
