#include <algorithm>
#include <set>
#include <thread>

#include "app/check_record.h"
#include "backup/file_view.h"
#include "base/printable.h"
#include "base/units.h"
#include "care/named_packs.h"
#include "cli/command.h"
#include "cli/shared.h"
#include "cli/threads_option.h"
#include "journal/names.h"
#include "parity/parity_backend.h"
#include "parity/repair.h"
#include "parity/upkeep.h"
#include "verify/check.h"
#include "verify/compare.h"

namespace respaldo::cli {

namespace {

const char* severity_name(verify::Severity severity) {
  switch (severity) {
    case verify::Severity::info:
      return "note";
    case verify::Severity::warning:
      return "warning";
    case verify::Severity::error:
      break;
  }
  return "error";
}

struct Options {
  verify::CheckOptions check;
  std::string subset, backup, host, device;
  bool repair = false;
};

Json ranges_json(const std::vector<Extent>& ranges) {
  Json list = Json::array();
  for (const Extent& range : ranges) list.push_back({{"offset", range.offset}, {"length", range.length}});
  return list;
}

void print_ranges(app::Context& context, const std::vector<Extent>& ranges, std::uint64_t count) {
  constexpr std::size_t kMost = 20;
  const bool all = context.options().verbosity > 1;
  for (std::size_t i = 0; i < ranges.size() && (all || i < kMost); ++i)
    context.print(fmt::format("  byte {}: {}", ranges[i].offset, format_size(ranges[i].length)));
  const std::size_t told = all ? ranges.size() : std::min(kMost, ranges.size());
  if (count > told) context.print(fmt::format("  and {} more ranges", count - told));
}

// What the backup may have stored as zeros whatever it holds: what is free on the device now. Of what was free
// then, and is in use now, the contents have changed.
ExtentSet free_space_of(app::Context& context, const view::StoredVolume& stored, const block::Device& device) {
  if (!stored.facts || stored.facts->free_bytes == 0) return {};
  backup::ForeignFilesystems foreign;
  for (const view::FileViewFacts& facts : stored.facts->file_views)
    if (facts.how == "mounted") (facts.folder == "files" ? foreign.mount : foreign.mount_partitions) = true;
  const backup::FileViews files = backup::open_file_views(device, foreign, context.stop());
  for (const std::string& warning : files.warnings) context.warn(warning);
  ExtentSet free = backup::map_of(files.views, false).free;
  for (const view::LostRange& lost : stored.facts->lost) free.remove(lost.extent);
  if (free.empty())
    context.warn(
        "the backup left out free space, and what is free on the device cannot be told: such space is shown as "
        "different");
  return free;
}

// The image of a backup beside the volume, held still by a snapshot where somebody may write it.
app::ExitCode compare_with_device(app::Context& context, const Options& options) {
  const auto lock = lock_for_reading(context);
  const engine::VolumeName name = engine::VolumeName::parse(options.device);
  const engine::VolumeInfo info = context.engine().find(name);
  const std::string volume = info.origin ? name.vg + "/" + *info.origin : name.str();
  const FoundBackup found =
      find_backup(context, options.backup.empty() ? "latest:" + volume : options.backup, Latest::certain, options.host);
  const view::StoredVolume stored = find_volume(context, found, found.volume ? *found.volume : volume);
  engine::AcquireOptions how;
  how.run_tag = journal::new_run_tag();
  const auto lease =
      info.origin ? context.engine().acquire_snapshot(name) : context.engine().acquire(name, how);
  const unsigned threads =
      options.check.threads != 0 ? options.check.threads : std::max(1U, std::thread::hardware_concurrency());
  const ExtentSet free = free_space_of(context, stored, lease->device());
  const verify::Comparison result =
      verify::compare(*view::open_image(context.indexed(), stored), lease->device(), free, threads,
                      context.progress(), context.stop());
  lease->require_valid();
  lease->release();
  const bool same = result.differing_ranges == 0;
  if (context.options().json) {
    context.print_json(dump({{"ok", same},
                             {"backup", found.backup.id.hex()},
                             {"time", format_time(found.backup.snapshot.time)},
                             {"host", found.backup.snapshot.hostname},
                             {"volume", stored.str()},
                             {"device", name.str()},
                             {"compared_bytes", result.compared},
                             {"differing_bytes", result.differing_bytes},
                             {"differing_ranges", result.differing_ranges},
                             {"differing", ranges_json(result.differing)},
                             {"zero_in_backup_bytes", result.zero_bytes},
                             {"zero_in_backup_ranges", result.zero_ranges},
                             {"zero_in_backup", ranges_json(result.zero_in_image)},
                             {"free_space_left_out", !free.empty()}}));
  } else {
    if (result.differing_ranges > 0) {
      context.print(fmt::format("{} and {} differ in {}, in {} ranges:", name.str(), title_of(found.backup), format_size(result.differing_bytes),
                                result.differing_ranges));
      print_ranges(context, result.differing, result.differing_ranges);
    }
    if (result.zero_ranges > 0)
      context.print(fmt::format("{} of free space in {} are zeros in the backup, which leaves it out",
                                format_size(result.zero_bytes), name.str()));
    if (context.options().verbosity > 0)
      context.print(fmt::format("{} compared with {}: {}", format_size(result.compared), title_of(found.backup),
                                same ? "no difference" : "THEY DIFFER"));
  }
  return same ? app::ExitCode::ok : app::ExitCode::damaged;
}

void join(parity::RepairReport& all, parity::RepairReport more) {
  all.objects += more.objects;
  all.bytes_read += more.bytes_read;
  for (parity::RepairItem& item : more.items) all.items.push_back(std::move(item));
}

// Keys and configuration, without which nothing can be opened.
parity::RepairReport repair_entrance(app::Context& context) {
  const auto raw = context.open_store();
  const auto found = parity::load_settings(*raw);
  if (!found && parity::is_left_behind(*raw))
    throw Error(ErrorKind::refused, "the settings of parity are lost: nothing can be healed before it is switched on again",
                parity::kTakeUp);
  if (!found)
    throw Error(ErrorKind::refused, "this repository has no parity: there is nothing to repair it with",
                "`respaldo parity enable 5%` makes it while everything is still whole");
  const bool config_is_missing = !raw->stat({store::FileType::config, ""});
  parity::RepairReport report = parity::repair_entrance(*raw, config_is_missing);
  try {
    context.repository();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) throw;
    join(report, parity::repair_entrance(*raw, true));
  }
  if (!raw->stat({store::FileType::config, ""}))
    throw Error(ErrorKind::corrupt, "the repository has lost its configuration, and parity cannot bring it back",
                "bring the file `config` back from a copy of the repository");
  return report;
}

parity::RepairReport repair(app::Context& context, repo::RepoLock& lock, unsigned threads) {
  repo::Repository& repository = context.repository();
  store::Backend& backend = repository.backend();
  parity::RepairOptions options;
  options.threads = threads;
  options.before_replacing = [&] { lock.require(); };
  options.is_config = [&](ByteView bytes) {
    return crypto::Cipher(repository.master_key()).open(bytes).has_value();
  };
  parity::RepairReport report = parity::repair(backend, options, context.progress(), context.stop());
  // The indexes are as good as they get: now it is known which packs ought to be there.
  std::vector<std::string> damaged;
  const repo::Index index = repository.load_index(context.progress(), &damaged, context.stop());
  std::set<std::string> present;
  for (const store::FileInfo& file : backend.list(store::FileType::pack)) present.insert(file.name);
  parity::RepairOptions missing;
  missing.before_replacing = options.before_replacing;
  for (const repo::PackId& pack : index.packs())
    if (!present.contains(pack.hex())) missing.only.push_back({store::FileType::pack, pack.hex()});
  if (!missing.only.empty()) {
    std::set<store::Handle> wanted(missing.only.begin(), missing.only.end());
    join(report, parity::repair(backend, missing, context.progress(), context.stop()));
    std::erase_if(report.items, [&](const parity::RepairItem& item) {
      return item.outcome == parity::Outcome::stale_parity &&
             wanted.contains({store::FileType::pack, item.object.name});
    });
  }
  // What cannot be healed keeps its groups: they may still help when more comes back.
  if (report.ok()) {
    parity::UpdateOptions update;
    for (const parity::RepairItem& item : report.items)
      if (item.outcome == parity::Outcome::group_damaged) update.broken_groups.push_back(item.object.name);
    update.keep_stale = true;
    update.before_removing = options.before_replacing;
    update.named = care::named_packs(repository, index, damaged.empty());
    const parity::UpdateReport updated = parity::update(backend, update, context.progress(), context.stop());
    for (parity::RepairItem& item : report.items)
      if (item.outcome == parity::Outcome::group_damaged) item.message += "; it was made anew";
    if (update.broken_groups.empty() && updated.groups_made > 0)
      report.items.push_back({parity::Outcome::parity_rebuilt,
                              {store::FileType::parity_group, ""},
                              {},
                              fmt::format("{} groups of packs were made anew", updated.groups_made)});
  }
  return report;
}

void tell(app::Context& context, const parity::RepairReport& report) {
  if (context.options().json) return;
  for (const parity::RepairItem& item : report.items)
    context.print(fmt::format("{}: {}", parity::to_string(item.outcome), printable(item.message)));
  if (context.options().verbosity > 0)
    context.print(
        fmt::format("{} objects, {} read: {} healed, {} parity made anew, {} beyond help", report.objects,
                    format_size(report.bytes_read), report.count(parity::Outcome::healed),
                    report.count(parity::Outcome::parity_rebuilt), report.count(parity::Outcome::beyond)));
  std::string packs;
  for (const parity::RepairItem& item : report.items)
    if (item.outcome == parity::Outcome::beyond && item.object.type == store::FileType::pack && !item.damaged.empty())
      packs += " " + item.object.name.substr(0, 8);
  if (!packs.empty())
    context.print(fmt::format("what is beyond help: `respaldo repair packs{}` saves what can still be read, then `respaldo "
                              "repair snapshots` makes the backups whole without the rest",
                              packs));
}

Json repair_json(const parity::RepairReport& report) {
  Json json = Json::array();
  for (const parity::RepairItem& item : report.items) {
    Json damaged = Json::array();
    for (const Extent& extent : item.damaged.extents())
      damaged.push_back({{"offset", extent.offset}, {"length", extent.length}});
    json.push_back({{"outcome", parity::to_string(item.outcome)},
                    {"type", store::to_string(item.object.type)},
                    {"id", item.object.name},
                    {"damaged", std::move(damaged)},
                    {"message", item.message}});
  }
  return json;
}

app::ExitCode check(app::Context& context, const verify::CheckOptions& options, bool heal) {
  if (heal) require_writing(context);
  context.bypass_cache();
  parity::RepairReport repaired;
  if (heal) repaired = repair_entrance(context);
  const auto lock = heal ? lock_repository(context, repo::LockKind::exclusive)
                         : lock_for_reading(context, repo::LockKind::exclusive);
  if (heal) {
    join(repaired, repair(context, *lock, options.threads));
    tell(context, repaired);
  }
  const verify::CheckReport report =
      verify::check_repository(context.repository(), options, context.progress(), context.stop());
  // What is beyond help is damage, even where the check does not read it again.
  const bool ok = report.ok() && repaired.ok();
  app::record_check(state_folder(context), context.repository().config().id,
                    {.time = repo::now().seconds,
                     .read_data = options.read_data && options.subset.kind == verify::ReadSubset::Kind::all,
                     .ok = ok});
  if (context.options().json) {
    Json json = {{"ok", ok},              {"backups", report.snapshots},     {"packs", report.packs},
                 {"blobs", report.blobs}, {"bytes_read", report.bytes_read},
                 {"unreferenced_packs", report.unreferenced_packs},
                 {"unreferenced_bytes", report.unreferenced_bytes},
                 {"findings", Json::array()}};
    if (heal) json["repaired"] = repair_json(repaired);
    for (const verify::Finding& finding : report.findings)
      json["findings"].push_back({{"severity", severity_name(finding.severity)},
                                  {"kind", finding.kind},
                                  {"message", finding.message},
                                  {"advice", finding.advice}});
    context.print_json(dump(json));
  } else {
    for (const verify::Finding& finding : report.findings) {
      if (finding.severity == verify::Severity::info && context.options().verbosity < 2) continue;
      context.print(fmt::format("{}: {}", severity_name(finding.severity), printable(finding.message)));
      if (!finding.advice.empty()) context.print("  " + printable(finding.advice));
    }
    if (context.options().verbosity > 0 && report.unreferenced_packs > 0) {
      const bool one = report.unreferenced_packs == 1;
      // Beside errors they may hold what is missing.
      const std::string advice = ok ? fmt::format("`respaldo prune` removes {}", one ? "it" : "them")
                                    : parity::heal_first(context.repository().backend()) +
                                          "`respaldo repair index` brings back what only the index lost";
      context.print(fmt::format("{} ({}) {} in no index: {}", counted(report.unreferenced_packs, "pack"),
                                format_size(report.unreferenced_bytes), one ? "is" : "are", advice));
    }
    if (context.options().verbosity > 0)
      context.print(
          fmt::format("{}, {}, {}{}: {}", counted(report.snapshots, "backup"), counted(report.packs, "pack"),
                      counted(report.blobs, "blob"),
                      options.read_data ? fmt::format(", {} read", format_size(report.bytes_read)) : "",
                      ok ? "no errors were found" : "ERRORS WERE FOUND"));
  }
  return ok ? app::ExitCode::ok : app::ExitCode::damaged;
}

}  // namespace

Action configure_check(CLI::App& app) {
  auto options = std::make_shared<Options>();
  auto* data =
      app.add_flag("--read-data", options->check.read_data, "read, decrypt and verify every stored byte as well");
  auto* subset = app.add_option("--read-data-subset", options->subset,
                                "the same for one of T parts, or for a share or an amount by chance")
                     ->type_name("N/T|P%|SIZE")
                     ->check(taken_by(verify::ReadSubset::parse))
                     ->excludes(data);
  auto* device = app.add_option("--device", options->device,
                                "instead: compare a backup's image with this volume, or with this snapshot of it")
                     ->type_name("VG/LV")
                     ->excludes(data)
                     ->excludes(subset);
  app.add_option("backup", options->backup, "the backup for --device; the newest of the volume by default")
      ->type_name("BACKUP");
  add_host_option(app, options->host);
  app.add_flag("--repair", options->repair,
               "first read everything and heal damage out of parity, as far as it reaches")
      ->excludes(device);
  add_threads_option(app, options->check.threads);
  return [options](app::Context& context) {
    if (!options->device.empty()) return compare_with_device(context, *options);
    if (!options->backup.empty() || !options->host.empty())
      throw Error(ErrorKind::usage, "a backup or a host is named, but no --device to compare with",
                  "without --device, `check` looks at the whole repository");
    verify::CheckOptions check_options = options->check;
    if (!options->subset.empty()) {
      check_options.subset = verify::ReadSubset::parse(options->subset);
      check_options.read_data = true;
    }
    return check(context, check_options, options->repair);
  };
}

}  // namespace respaldo::cli
