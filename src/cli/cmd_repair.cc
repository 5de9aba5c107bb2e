#include "care/repair.h"

#include "base/units.h"
#include "care/repair_snapshots.h"
#include "cli/care_commands.h"
#include "cli/care_options.h"
#include "os/file.h"
#include "parity/parity_backend.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::string action;
  std::vector<std::string> ids;
  FilterWords filter;
  bool read_all_packs = false, forget = false, dry_run = false;
  std::string save_in = ".";
};

template <class Ids>
Json hex_list(const Ids& ids) {
  Json list = Json::array();
  for (const auto& id : ids) list.push_back(id.hex());
  return list;
}

app::ExitCode repair_index(app::Context& context, const Options& options) {
  if (!options.ids.empty()) throw Error(ErrorKind::usage, "`repair index` takes no IDs");
  const auto lock = lock_repository(context, repo::LockKind::exclusive);
  const care::RepairIndexReport report = care::repair_index(
      context.repository(), {options.read_all_packs, options.dry_run, 0}, lock.get(), context.progress(), context.stop());
  if (context.options().json) {
    context.print_json(dump({{"dry_run", options.dry_run},
                             {"packs_read", report.packs_read},
                             {"added", hex_list(report.added)},
                             {"corrected", hex_list(report.corrected)},
                             {"missing", hex_list(report.missing)},
                             {"unreadable_packs", report.unreadable_packs},
                             {"unreadable_index_files", report.unreadable_files}}));
  } else {
    const char* would = options.dry_run ? "would be " : "";
    for (const std::string& name : report.unreadable_files)
      context.print(fmt::format("index file {} cannot be read: {}removed", name.substr(0, 8), would));
    for (const auto& id : report.added) context.print(fmt::format("pack {}: {}added", id.short_hex(), would));
    for (const auto& id : report.corrected)
      context.print(fmt::format("pack {}: {}told as it is", id.short_hex(), would));
    for (const auto& id : report.missing)
      context.print(fmt::format("pack {} is missing: {}dropped", id.short_hex(), would));
    for (const std::string& problem : report.unreadable_packs)
      context.print(fmt::format("{}; `respaldo repair packs` saves what can be read", printable(problem)));
    if (!report.unreadable_packs.empty())
      context.print(fmt::format("of {} the index tells no more than it did", counted(report.unreadable_packs.size(), "pack")));
    if (context.options().verbosity > 0 && (report.changed() || report.unreadable_packs.empty()))
      context.print(report.changed()
                        ? (options.dry_run ? "the index would be repaired" : "the index is repaired")
                        : "the index tells what the packs hold");
  }
  return report.unreadable_packs.empty() ? app::ExitCode::ok : app::ExitCode::damaged;
}

app::ExitCode repair_snapshots(app::Context& context, const Options& options) {
  const care::BackupFilter filter = options.filter.filter();
  const auto lock = lock_repository(context, repo::LockKind::exclusive);
  std::vector<std::string> damaged;
  const auto all = context.repository().snapshots(&damaged);
  const auto selected = select_backups(all, options.ids, filter);
  warn_if_none_fits(context, all.size(), selected.size());
  // Who names some backups gives up no others.
  const bool everything = options.ids.empty() && filter.empty();
  const care::RepairSnapshotsReport report =
      care::repair_snapshots(context.repository(), selected, {options.forget, options.dry_run, everything}, lock.get(),
                             context.progress(), context.stop());
  if (context.options().json) {
    Json json = {{"dry_run", options.dry_run},
                 {"examined", report.examined},
                 {"forgot_originals", options.forget && !options.dry_run},
                 {"unreadable", report.unreadable_files},
                 {"forgot_unreadable", options.forget && everything && !options.dry_run},
                 {"backups", Json::array()}};
    for (const care::RepairedBackup& backup : report.backups)
      json["backups"].push_back(
          {{"id", backup.id.hex()},
           {"replacement", backup.replacement ? Json(backup.replacement->hex()) : Json(nullptr)},
           {"losses", backup.losses}});
    context.print_json(dump(json));
    return app::ExitCode::ok;
  }
  const bool removed = options.forget && !options.dry_run;
  const std::string heal = parity::heal_first(context.repository().backend());
  for (const std::string& name : report.unreadable_files)
    context.print(fmt::format(
        "backup {} cannot be read: {}", name.substr(0, 8),
        removed && everything ? "removed"
        : everything          ? heal + "--forget removes it"
                     : heal + "it was not named, and stays; without IDs and filters --forget removes it"));
  for (const care::RepairedBackup& backup : report.backups) {
    context.print(fmt::format("backup {}{}:", backup.id.short_hex(),
                              backup.replacement ? ", now " + backup.replacement->short_hex() : ""));
    for (const std::string& loss : backup.losses) context.print("  " + loss);
  }
  if (context.options().verbosity > 0)
    context.print(fmt::format("{} of {} backups {}{}", report.backups.size(), report.examined,
                              options.dry_run ? "have losses" : "were repaired",
                              report.backups.empty() || options.dry_run ? ""
                              : removed                                 ? "; their originals are gone"
                                                                        : "; their originals are kept"));
  return app::ExitCode::ok;
}

std::vector<repo::PackId> find_packs(repo::Repository& repository, const std::vector<std::string>& words) {
  const auto files = repository.backend().list(store::FileType::pack);
  std::vector<repo::PackId> packs;
  for (const std::string& word : words) {
    std::vector<std::string> found;
    for (const store::FileInfo& file : files)
      if (!word.empty() && file.name.starts_with(word)) found.push_back(file.name);
    if (found.size() != 1)
      throw Error(found.empty() ? ErrorKind::not_found : ErrorKind::usage,
                  found.empty() ? fmt::format("there is no pack {}", printable(word))
                                : fmt::format("{} begins the IDs of {} packs", printable(word), found.size()),
                  "`respaldo check --read-data` names the damaged ones");
    packs.push_back(*repo::PackId::parse(found.front()));
  }
  std::ranges::sort(packs);
  packs.erase(std::unique(packs.begin(), packs.end()), packs.end());
  return packs;
}

app::ExitCode repair_packs(app::Context& context, const Options& options) {
  if (options.ids.empty())
    throw Error(ErrorKind::usage, "no pack is named", "`respaldo check --read-data` names the damaged ones");
  const auto lock = lock_repository(context, repo::LockKind::exclusive);
  const auto packs = find_packs(context.repository(), options.ids);
  std::vector<std::string> saved;
  const auto keep = [&](const repo::PackId& id, ByteView bytes) {
    const os::Path path = os::Path(options.save_in) / ("pack-" + id.hex());
    os::AtomicFile file(path, 0600);
    file.write(bytes);
    file.commit(os::AtomicFile::Durability::now);
    saved.push_back(path.native());
  };
  const care::RepairPacksReport report =
      care::repair_packs(context.repository(), packs, keep, lock.get(), context.progress(), context.stop());
  if (context.options().json) {
    Json json = {{"salvaged", report.salvaged},
                 {"lost", Json::array()},
                 {"saved_as", saved},
                 {"unreadable", Json::array()}};
    for (const auto& [pack, holes] : report.unreadable)
      for (const Extent& hole : holes.extents())
        json["unreadable"].push_back(
            {{"pack", pack.hex()}, {"offset", hole.offset}, {"length", hole.length}});
    for (const care::LostBlob& blob : report.lost)
      json["lost"].push_back({{"type", blob.type == repo::BlobType::tree ? "tree" : "data"},
                              {"id", blob.id.hex()},
                              {"pack", blob.pack.hex()}});
    context.print_json(dump(json));
    return app::ExitCode::ok;
  }
  for (const std::string& path : saved) context.print("the pack as it was: " + printable(path));
  for (const auto& [pack, holes] : report.unreadable)
    context.print(fmt::format("pack {}: {} from byte {} on cannot be read, and are zeros in the copy{}",
                              pack.short_hex(), format_size(holes.extents().front().length),
                              holes.extents().front().offset,
                              holes.extents().size() > 1
                                  ? fmt::format("; so are {} more ranges", holes.extents().size() - 1)
                                  : ""));
  for (const care::LostBlob& blob : report.lost)
    context.print(fmt::format("lost: {} blob {}", blob.type == repo::BlobType::tree ? "tree" : "data",
                              blob.id.short_hex()));
  if (context.options().verbosity > 0)
    context.print(
        fmt::format("{} moved to new packs, {} lost{}", counted(report.salvaged, "blob"), report.lost.size(),
                    report.lost.empty() ? ""
                                        : "; a new backup stores again what the volumes still hold of them, "
                                          "then `respaldo repair snapshots --forget`, then `repair index`"));
  return app::ExitCode::ok;
}

app::ExitCode repair(app::Context& context, const Options& options) {
  context.bypass_cache();
  if (options.action == "index") return repair_index(context, options);
  if (options.action == "snapshots") return repair_snapshots(context, options);
  return repair_packs(context, options);
}

}  // namespace

Action configure_repair(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("what", options->action,
                 "index: tell what the packs hold; snapshots: backups without what is lost; "
                 "packs: move what can be read of damaged packs")
      ->required()
      ->check(CLI::IsMember({"index", "snapshots", "packs"}));
  app.add_option("ids", options->ids, "the backups (all, when none is named) or the packs")->type_name("ID");
  app.add_flag("--read-all-packs", options->read_all_packs,
               "index: trust no index file, read every pack's header");
  app.add_flag("--forget", options->forget,
               "snapshots: remove the originals, and backups that cannot be read at all");
  add_filter_options(app, options->filter);
  app.add_option("--save-in", options->save_in, "packs: the folder for copies of the damaged packs")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_flag("-n,--dry-run", options->dry_run, "index, snapshots: only tell what would be done");
  return [options](app::Context& context) {
    if (options->dry_run && options->action == "packs")
      throw Error(ErrorKind::usage, "`repair packs` has no dry run",
                  "`check --read-data` tells what is damaged");
    if (options->action != "snapshots" && (options->forget || !options->filter.filter().empty()))
      throw Error(ErrorKind::usage,
                  fmt::format("--forget, --host, --tag, --path and --volume choose backups; `repair {}` is about none",
                              options->action),
                  "leave them out, or `repair snapshots`");
    if (options->action != "index" && options->read_all_packs)
      throw Error(ErrorKind::usage, "--read-all-packs is for `repair index`", "leave it out");
    return repair(context, *options);
  };
}

}  // namespace respaldo::cli
