#include "backup/backup.h"

#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/printable.h"
#include "base/units.h"
#include "care/policy.h"
#include "cli/command.h"
#include "cli/hook_options.h"
#include "cli/pack_size.h"
#include "cli/shared.h"
#include "cli/threads_option.h"
#include "machine/sysfs.h"
#include "repo/host.h"
#include "store/open.h"
#include "verify/medium_check.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::vector<std::string> volumes, tags;
  bool from_snapshot = false, raw = false, all_blocks = false, dry_run = false, verify_all = false,
       verify = false;
  bool full = false, mount = false, no_mount = false, keep_base = false, quick = false;
  std::string cow, keep_free, min_pool_free, on_cow_full = "continue";
  std::string host, on_read_error = "fail", compression = "auto", pack_size;
  unsigned threads = 0;
  HookOptions hooks;
};

constexpr int kLowestLevel = -20, kHighestLevel = 22;  // of zstd; it knows lower ones, which hardly compress

int compression_level(const std::string& word) {
  if (word == "auto") return 0;
  if (word == "fast") return 1;
  if (word == "max") return 19;
  int level = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), level);
  if (error != std::errc{} || end != word.data() + word.size() || level < kLowestLevel || level > kHighestLevel ||
      level == 0)
    throw Error(ErrorKind::usage,
                fmt::format("--compression: '{}' is none: auto, fast, max, or a level of zstd, {} to {}, are",
                            printable(word), kLowestLevel, kHighestLevel));
  return level;
}

// As restic reads them. A tag that holds a comma, or none, could never be named again.
std::vector<std::string> tags_of(const std::vector<std::string>& words) {
  std::vector<std::string> tags;
  for (const std::string& word : words)
    for (std::string& tag : care::parse_tag_list(word)) {
      if (tag.empty())
        throw Error(ErrorKind::usage, fmt::format("--tag '{}' has an empty tag", printable(word)),
                    "commas separate tags: --tag nightly,server");
      if (std::ranges::find(tags, tag) == tags.end()) tags.push_back(std::move(tag));
    }
  return tags;
}

engine::Amount parse_keep_free(const std::string& text) {
  return engine::Amount::parse(text, "--keep-free", engine::Amount::Of::vg);
}
engine::Amount parse_min_pool_free(const std::string& text) {
  return engine::Amount::parse(text, "--min-pool-free", engine::Amount::Of::pool);
}

backup::BackupOptions translate(const Options& options) {
  backup::BackupOptions result;
  for (const std::string& volume : options.volumes)
    result.volumes.push_back(engine::VolumeName::parse(volume));
  result.from_snapshot = options.from_snapshot;
  if (const auto cow = parse_cow(options.cow)) {
    if (cow->of == engine::Amount::Of::bytes)
      result.cow_size = cow->value;
    else
      result.cow_share = cow;
  }
  if (!options.keep_free.empty()) result.keep_free = parse_keep_free(options.keep_free);
  if (!options.min_pool_free.empty()) result.guard.min_pool_free = parse_min_pool_free(options.min_pool_free);
  if (options.on_cow_full == "abort") result.guard.on_full = engine::GuardOptions::OnFull::abort;
  result.raw = options.raw;
  if (options.mount) result.mounting = backup::Mounting::always;
  if (options.no_mount) result.mounting = backup::Mounting::never;
  result.all_blocks = options.all_blocks;
  result.full = options.full;
  result.keep_base = options.keep_base;
  result.quick = options.quick;
  result.tags = tags_of(options.tags);
  result.hostname = options.host.empty() ? repo::this_host() : options.host;
  result.username = repo::this_user();
  result.program_version = fmt::format("respaldo {}", app::kVersion);
  result.on_read_error =
      options.on_read_error == "skip" ? backup::OnReadError::skip : backup::OnReadError::fail;
  result.writer.compression_level = compression_level(options.compression);
  if (!options.pack_size.empty()) result.writer.pack_size = parse_pack_size(options.pack_size);
  if (options.verify_all) result.writer.verify_every = 1;
  result.threads = options.threads;
  result.dry_run = options.dry_run;
  return result;
}

Json volume_json(const backup::VolumeResult& volume) {
  Json json = Json::parse(volume.base.add_to(volume.facts.to_json()));
  json["bytes_read"] = volume.bytes_read;
  json["bytes_zero"] = volume.bytes_zero;
  json["bytes_reused"] = volume.bytes_reused;
  json["base_kept"] = volume.base_kept;
  return json;
}

void print_files(app::Context& context, const view::VolumeFacts& facts) {
  for (const view::FileViewFacts& view : facts.file_views) {
    const std::string where = fmt::format("{}/{}/{}", printable(facts.vg), printable(facts.lv), view.folder);
    if (view.journal == "replayed") context.print(fmt::format("{}: as after recovery of the journal", where));
    for (const std::string& note : view.notes) context.print(fmt::format("{}: {}", where, printable(note)));
  }
}

constexpr std::size_t kMostShown = 10;
constexpr std::chrono::milliseconds kRecent{500};  // in which what the store said of the lock counts

// What the backup does not hold. With --json, too: a job tells it on.
void warn_of_losses(app::Context& context, const view::VolumeFacts& facts) {
  const std::string volume = fmt::format("{}/{}", printable(facts.vg), printable(facts.lv));
  const auto more = [&](const std::string& where, std::uint64_t count) {
    if (count > kMostShown)
      context.warn(fmt::format("{}: {} more of the kind; `respaldo cat BACKUP /{}/volume.json` lists the first 100",
                               where, count - kMostShown, volume));
  };
  for (const view::FileViewFacts& view : facts.file_views) {
    const std::string where = fmt::format("{}/{}", volume, view.folder);
    if (view.encrypted_folders > 0)
      context.warn(fmt::format("{}: in the image only, since their names cannot be told: {}", where,
                               counted(view.encrypted_folders, "encrypted folder")));
    for (std::size_t i = 0; i < std::min(view.findings.size(), kMostShown); ++i)
      context.warn(fmt::format("{}{}{}: {}", where, view.findings[i].path.starts_with('/') ? "" : " ",
                               printable(view.findings[i].path), printable(view.findings[i].what)));
    more(where, view.finding_count);
  }
  for (std::size_t i = 0; i < std::min(facts.lost.size(), kMostShown); ++i)
    context.warn(fmt::format("{}: {} at byte {} could not be read and are stored as zeros: {}", volume,
                             format_size(facts.lost[i].extent.length), facts.lost[i].extent.offset,
                             printable(facts.lost[i].why)));
  if (facts.lost.size() > kMostShown)
    context.warn(fmt::format("{}: {} more of the kind; `respaldo cat BACKUP /{}/volume.json` lists them all", volume,
                             facts.lost.size() - kMostShown, volume));
}

// --verify: what this run stored is read back from the medium, before and after the backup is listed.
class Verification {
 public:
  explicit Verification(app::Context& context) : context_(context), log_(context.log_writes()) {}

  void before_commit() {
    written_ = log_->take();
    check(written_, context_.stop());
  }
  // The backup's own object: it is listed, and only damage takes it back. A stop may end the store's work all the same.
  void after_commit(const repo::SnapshotId& id) {
    try {
      check(log_->take(), {});
    } catch (const Error&) {
      try {
        context_.repository().backend().remove({store::FileType::snapshot, id.hex()});
      } catch (const std::exception& problem) {
        throw not_verified(id, fmt::format("its own object does not read back, and cannot be removed ({})", problem.what()));
      }
      throw;
    } catch (const Cancelled&) {
      throw not_verified(id, "interrupted before it was read back");
    }
  }
  void tell() const {
    constexpr const char* kHow[] = {"past the page cache", "the page cache dropped",
                                    "how directly cannot be told"};
    if (!context_.options().json && context_.options().verbosity > 0)
      context_.print(fmt::format("verified on the medium: {} objects, {} ({})", objects_, format_size(bytes_),
                                 kHow[static_cast<std::size_t>(medium_)]));
  }
  Json json() const {
    constexpr const char* kHow[] = {"direct", "dropped", "unknown"};
    return {{"objects", objects_},
            {"bytes", bytes_},
            {"how", kHow[static_cast<std::size_t>(medium_)]},
            {"healed", healed_}};
  }

 private:
  static app::NotOnMedium not_verified(const repo::SnapshotId& id, const std::string& why) {
    return {ErrorKind::io, fmt::format("backup {} is listed, and not verified: {}", id.short_hex(), why),
            "run `respaldo check --read-data`: it tells whether the backup is whole"};
  }
  void check(const std::vector<store::Handle>& written, const std::stop_token& stop) {
    const verify::MediumReport report =
        verify::check_on_medium(context_.repository(), written, context_.progress(), stop);
    objects_ += report.objects;
    bytes_ += report.bytes;
    medium_ = std::max(medium_, report.medium);
    healed_ += report.healed.size();
    for (const std::string& healed : report.healed)
      context_.warn(fmt::format("the medium gave back other bytes than were written: {}", healed));
    for (const std::string& problem : report.parity_problems) context_.warn(problem);
    if (report.damaged.empty()) return;
    verify::forget_damaged(context_.repository(), written_, report.damaged);
    throw app::NotOnMedium(
        ErrorKind::io,
        fmt::format(
            "{}{}; the backup is not listed", report.problems.front(),
            report.problems.size() > 1 ? fmt::format(" (and {} more)", report.problems.size() - 1) : ""),
        "the disk that holds the repository (or its cable, or its controller) fails: see `dmesg` and "
        "`smartctl -a`, "
        "run `respaldo check --read-data`, and write the next backup to another disk");
  }

  app::Context& context_;
  const std::shared_ptr<store::WriteLog> log_;
  std::vector<store::Handle> written_;
  std::uint64_t objects_ = 0, bytes_ = 0, healed_ = 0;
  store::Medium medium_ = store::Medium::direct;
};

void report_base(app::Context& context, const backup::VolumeResult& volume) {
  const view::VolumeFacts& facts = volume.facts;
  const std::string name = fmt::format("{}/{}", printable(facts.vg), printable(facts.lv));
  const auto& used = volume.base.used;
  if (used && used->source == "quick")
    context.print(fmt::format("{}: inodes were trusted, not proven (--quick): {} taken over from backup {}",
                              name, format_size(volume.bytes_reused), used->backup.substr(0, 8)));
  else if (used)
    context.print(fmt::format("{}: {} changed since backup {}; {} taken over from it", name,
                              format_size(used->changed_bytes), used->backup.substr(0, 8),
                              format_size(volume.bytes_reused)));
  if (!volume.base.refused.empty())
    context.print(fmt::format("{}: {}: {}", name, used ? "the base was not used" : "everything was read",
                              printable(volume.base.refused)));
  if (volume.base_kept)
    context.print(fmt::format(
        "{}: a base is kept for the next backup; {}; `respaldo base list` shows how it fills", name,
        !volume.base.kept || volume.base.kept->source == "thin"
            ? std::string("what is overwritten until then stays in the pool")
        : facts.cow_size ? fmt::format("its store takes {}, and until then each block's first write is copied there",
                                       format_size(*facts.cow_size))
                         : std::string("until then each block's first write is copied to its store")));
}

void report(app::Context& context, const backup::BackupSummary& summary, const Verification* verification) {
  std::uint64_t total = 0;
  for (const backup::VolumeResult& volume : summary.volumes) total += volume.facts.size;
  if (context.options().json) {
    for (const backup::VolumeResult& volume : summary.volumes) warn_of_losses(context, volume.facts);
    Json json = {{"backup", summary.id ? Json(summary.id->hex()) : Json()},
                 {"volumes", Json::array()},
                 {"new_blobs", summary.totals.data_blobs + summary.totals.tree_blobs},
                 {"new_bytes", summary.totals.new_bytes},
                 {"stored_bytes", summary.totals.packed_bytes},
                 {"known_bytes", summary.totals.known_bytes},
                 {"total_bytes", total},
                 {"seconds", summary.seconds},
                 {"incomplete", summary.incomplete},
                 {"missing", summary.missing},
                 {"notes", summary.notes}};
    for (const backup::VolumeResult& volume : summary.volumes) json["volumes"].push_back(volume_json(volume));
    if (verification != nullptr) json["verified"] = verification->json();
    context.print_json(dump(json));
    return;
  }
  if (context.options().verbosity == 0) {
    for (const backup::VolumeResult& volume : summary.volumes) warn_of_losses(context, volume.facts);
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
    report_base(context, volume);
    print_files(context, facts);
    warn_of_losses(context, facts);
  }
  for (const std::string& note : summary.notes) context.print(printable(note));
  context.print(fmt::format("{} in {}: {}; new: {}, stored as {}", format_size(total),
                            format_duration(summary.seconds),
                            format_rate(static_cast<double>(total) / std::max(summary.seconds, 1e-3)),
                            format_size(summary.totals.new_bytes), format_size(summary.totals.packed_bytes)));
  if (verification != nullptr && summary.id) verification->tell();
  if (summary.id)
    context.print(
        fmt::format("backup {} saved{}", summary.id->short_hex(), summary.incomplete ? ", INCOMPLETE" : ""));
  else
    context.print("dry run: nothing was saved");
}

// The folder's own disk dies with the volumes that lie on it. Kernel engine.
void warn_of_same_disk(app::Context& context, const std::vector<engine::VolumeName>& volumes) {
  const store::Location place = store::parse_location(context.repository_location());
  if (place.scheme != store::Scheme::local) return;
  struct stat folder {};
  if (::stat(place.rest.c_str(), &folder) != 0) return;
  const auto ours = machine::disks_holding(folder.st_dev);
  for (const engine::VolumeName& name : volumes) {
    struct stat device {};
    if (::stat(("/dev/" + name.str()).c_str(), &device) != 0) continue;
    for (const std::string& disk : machine::disks_holding(device.st_rdev))
      if (ours.contains(disk)) {
        context.warn(fmt::format("the repository {} lies on the same disk as {} ({}): when that dies, the backups die with "
                                 "the volume; keep them on another one (`respaldo target create DISK`), or elsewhere",
                                 printable(place.rest), printable(name.str()), printable(disk)));
        break;
      }
  }
}

// It may have been removed between the last look and the moment from which the backup protects what it needs.
void require_lock_to_the_end(repo::RepoLock& lock, const repo::SnapshotId& backup) {
  try {
    lock.require();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::busy) return;  // the store does not answer: the backup was saved before
    throw app::NotOnMedium(
        ErrorKind::io,
        fmt::format("backup {} is listed, but the lock on the repository was removed meanwhile: a prune may not have seen it",
                    backup.short_hex()),
        "run `respaldo check`: it tells whether the backup is whole");
  } catch (const Cancelled&) {
    // Of a store that answers no more after a stop: likewise.
  }
}

// Who stops a backup whose report nobody reads has it all the same.
void report_to_the_end(app::Context& context, const backup::BackupSummary& summary, const Verification* verification) {
  const std::string cut =
      fmt::format("backup {} is saved, but not all of its report is written", summary.id->short_hex());
  try {
    in_context([&] { return cut; }, [&] { report(context, summary, verification); });
  } catch (const Cancelled&) {
    try {
      context.warn(cut);
    } catch (const Cancelled&) {
      // Nobody reads this, either.
    }
  }
}

// Interrupted, with nothing listed.
class NothingSaved : public Cancelled {
 public:
  const char* what() const noexcept override { return "interrupted; no backup was saved"; }
};

app::ExitCode save(app::Context& context, const backup::BackupOptions& plan, Verification* verification,
                   job::Facts& facts) {
  engine::VolumeEngine& engine = context.engine();
  for (const engine::VolumeName& name : plan.volumes) engine.find(name);  // before a password is asked for
  std::set<std::string> told;
  const auto tell_warnings = [&] {
    for (const std::string& warning : engine.warnings())
      if (told.insert(warning).second) context.warn(warning);
  };
  tell_warnings();
  context.expect_to_write();
  if (engine.kind() == engine::EngineKind::kernel) warn_of_same_disk(context, plan.volumes);
  // Somebody who waits for others' locks waits for one of this moment, too.
  const bool patient = context.options().lock_patience_seconds.value_or(0) > 0;
  const auto lock = lock_repository(context, repo::LockKind::shared,
                                    patient ? repo::Settling::wait : repo::Settling::behind);
  repo::Repository& repository = context.repository();
  const repo::IndexedRepository indexed(repository,
                                        repository.load_stored_index(context.progress(), context.stop()));
  const auto still_locked = [&](backup::LockLook look) {
    lock->settle(context.stop());
    if (look == backup::LockLook::known)
      lock->require_by_what_is_known();
    else
      lock->require(look == backup::LockLook::recent ? kRecent : std::chrono::milliseconds(0));
  };
  backup::BackupSummary summary;
  try {
    summary = backup::run_backup(engine, indexed, plan, context.progress(), still_locked, context.stop());
  } catch (...) {
    // A snapshot that could not be taken away, for example.
    if (engine.kind() == engine::EngineKind::kernel) tell_warnings();
    throw;
  }
  if (summary.incomplete)
    facts.emplace_back("ERROR", fmt::format("the backup is incomplete: {}", fmt::join(summary.missing, "; ")));
  if (!summary.id) {
    for (const std::string& warning : summary.warnings) context.warn(warning);
    report(context, summary, nullptr);
  } else {
    // It is listed: from here on nothing may end as if it were not, a stop neither.
    for (const std::string& warning : summary.warnings) context.warn(warning);
    if (verification != nullptr) verification->after_commit(*summary.id);
    facts.emplace_back("BACKUP", summary.id->hex());
    require_lock_to_the_end(*lock, *summary.id);
    report_to_the_end(context, summary, verification);
  }
  return summary.incomplete ? app::ExitCode::incomplete : app::ExitCode::ok;
}

app::ExitCode run(app::Context& context, const Options& options) {
  backup::BackupOptions plan = translate(options);
  plan.state = state_folder(context);
  const config::Hooks hooks = hooks_of(options.hooks);
  std::optional<Verification> verification;
  if (options.verify && !options.dry_run) {
    verification.emplace(context);
    plan.before_commit = [&] { verification->before_commit(); };
  }
  return run_with_hooks(context, hooks, plan, [&](job::Facts& facts) {
    try {
      return save(context, plan, verification ? &*verification : nullptr, facts);
    } catch (const backup::ListingCancelled&) {
      throw;
    } catch (const Cancelled&) {
      throw NothingSaved();
    }
  });
}

}  // namespace

Action configure_backup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("volumes", options->volumes, "volumes to save, as VG/LV")->required()->type_name("VG/LV");
  app.add_flag("--from-snapshot", options->from_snapshot, "the names are of snapshots that exist already");
  app.add_option(
         "--cow", options->cow,
         "size of the snapshot's COW store: 10G, 20%ORIGIN, 50%FREE; auto: from the volume's own history, "
         "else a fifth of it")
      ->type_name("SIZE")
      ->check(taken_by(parse_cow));
  app.add_option("--keep-free", options->keep_free,
                 "what snapshots never take of the volume group's free space: 1G, or 5% of the group")
      ->type_name("SIZE")
      ->check(taken_by(parse_keep_free));
  app.add_option("--on-cow-full", options->on_cow_full,
                 "when a snapshot fills up and cannot be extended: continue (and fail if it overflows before "
                 "its end), "
                 "or abort before it is full")
      ->check(CLI::IsMember({"abort", "continue"}))
      ->capture_default_str();
  app.add_option("--min-pool-free", options->min_pool_free,
                 "give up when a thin pool has less free: 1G, or 5% of it [5%]")
      ->type_name("SIZE")
      ->check(taken_by(parse_min_pool_free));
  auto* raw = app.add_flag("--raw", options->raw, "the image view alone: do not look for files");
  auto* mount =
      app.add_flag("--mount", options->mount,
                   "read filesystems other than ext through this machine's kernel with --disk, too, and "
                   "on partitions inside volumes; needs root")
          ->excludes(raw);
  app.add_flag("--no-mount", options->no_mount,
               "never let the kernel mount anything: the image view alone of all but ext")
      ->excludes(mount);
  app.add_flag("--all-blocks", options->all_blocks,
               "store what the filesystem calls free, too, instead of zeros");
  app.add_flag("--keep-base", options->keep_base,
               "keep the snapshot, so that the next backup reads only what changes from now on");
  auto* quick =
      app.add_flag(
             "--quick", options->quick,
             "where no base is there: trust the inodes of ext2, ext3 and ext4 (times, size, place), as file "
             "backup tools do, and read only files that look changed")
          ->excludes(raw);
  app.add_flag("--full", options->full, "read everything, even if a base is there")->excludes(quick);
  app.add_option("--tag", options->tags, "a tag for the backup, or several (a,b); may be given several times")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1)
      ->type_name("TAGS");
  app.add_option("--host", options->host, "host name to record instead of this machine's")->type_name("NAME");
  app.add_option("--on-read-error", options->on_read_error,
                 "fail, or skip: save the rest and say what is lost")
      ->check(CLI::IsMember({"fail", "skip"}))
      ->capture_default_str();
  app.add_option("--compression", options->compression,
                 "auto, fast (less work, more bytes), max, or a level of zstd, -20 (least work) to 22")
      ->type_name("auto|fast|max|LEVEL")
      ->check(taken_by(compression_level))
      ->capture_default_str();
  app.add_option("--pack-size", options->pack_size, "target size of pack files, 4M to 128M [16M]")
      ->type_name("SIZE")
      ->check(taken_by(parse_pack_size));
  app.add_flag("--verify", options->verify,
               "read everything back from the medium, past the page cache, before the backup is listed");
  app.add_flag("--verify-all", options->verify_all,
               "read back every new blob before it is stored, not one in eight");
  add_threads_option(app, options->threads);
  app.add_flag("-n,--dry-run", options->dry_run, "read and count, save nothing");
  add_hook_options(app, options->hooks);
  return [options](app::Context& context) { return run(context, *options); };
}

}  // namespace respaldo::cli
