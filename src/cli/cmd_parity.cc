// parity status, enable, update, disable, restore.
#include <algorithm>

#include "app/no_repository.h"
#include "base/units.h"
#include "care/named_packs.h"
#include "cli/command.h"
#include "cli/shared.h"
#include "parity/parity_backend.h"
#include "parity/repair.h"
#include "parity/upkeep.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::string action = "status", groups;
  std::vector<std::string> words;
  bool yes = false;
};

double percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

parity::Settings settings_of(store::Backend& backend) {
  const auto found = parity::load_settings(backend);
  if (!found)
    throw Error(ErrorKind::refused, "this repository has no parity", "`respaldo parity enable 5%` makes it");
  return found->settings;
}

// Needs no password: names and sizes tell it.
app::ExitCode status(app::Context& context) {
  const auto backend = context.open_store();
  app::require_repository(*backend, backend->location(), "make one with `respaldo init`, or correct the path");
  const auto found = parity::load_settings(*backend);
  const parity::Coverage coverage = parity::look_at_coverage(*backend);
  const bool complete = found && !found->damaged && coverage.complete(found->settings);
  if (context.options().json) {
    context.print_json(
        dump({{"enabled", found.has_value()},
              {"settings", found ? Json(parity::describe(found->settings)) : Json()},
              {"settings_damaged", found && found->damaged},
              {"complete", complete},
              {"objects", coverage.objects},
              {"object_bytes", coverage.object_bytes},
              {"parity_bytes", coverage.parity_bytes},
              {"groups", coverage.groups},
              {"without_parity", coverage.without_parity.size()},
              {"without_group", found && found->settings.has_groups() ? coverage.without_group.size() : 0},
              {"stale", coverage.stale.size()},
              {"stale_groups", coverage.stale_groups.size()}}));
    return app::ExitCode::ok;
  }
  if (!found) {
    context.print(
        coverage.parity_bytes == 0
            ? "parity: none; `respaldo parity enable 5%` makes it"
            : fmt::format("parity: ITS SETTINGS ARE LOST, or `parity disable` was cut off; {} of it are left: {}",
                          format_size(coverage.parity_bytes), parity::kTakeUp));
    return app::ExitCode::ok;
  }
  context.print(fmt::format("parity: {}{}", parity::describe(found->settings),
                            found->damaged ? " (THE SETTINGS ARE LOST OR DAMAGED: respaldo check --repair)" : ""));
  context.print(fmt::format("{} objects, {}; parity {} ({:.1f}%), {} groups", coverage.objects,
                            format_size(coverage.object_bytes), format_size(coverage.parity_bytes),
                            percent(coverage.parity_bytes, coverage.object_bytes), coverage.groups));
  const auto tell = [&](std::size_t count, std::string_view what) {
    if (count > 0) context.print(fmt::format("{} {}", count, what));
  };
  tell(coverage.without_parity.size(), "objects have no parity");
  tell(coverage.stale.size(), "parity files belong to objects that do not exist");
  if (found->settings.has_groups()) tell(coverage.without_group.size(), "packs are in no whole group");
  tell(coverage.stale_groups.size(), "groups are damaged or miss members");
  if (complete)
    context.print("everything is protected");
  else if (coverage.stale.empty() && coverage.stale_groups.empty())
    context.print("`respaldo parity update` brings it up to date");
  else
    context.print(
        "`respaldo check` tells whether anything was lost; `respaldo parity update` brings parity up to "
        "date");
  return app::ExitCode::ok;
}

app::ExitCode update(app::Context& context) {
  repo::Repository& repository = context.repository();
  const auto lock = lock_repository(context, repo::LockKind::exclusive);
  parity::UpdateOptions options;
  options.named = care::named_packs(repository, context.stop());
  options.before_removing = [&] { lock->require(); };
  const parity::UpdateReport report =
      parity::update(repository.backend(), options, context.progress(), context.stop());
  if (context.options().json) {
    Json json = {{"made", report.made},
                 {"removed", report.removed},
                 {"groups_made", report.groups_made},
                 {"groups_removed", report.groups_removed},
                 {"groups_kept", report.groups_kept},
                 {"damaged", Json::array()},
                 {"lost", Json::array()}};
    for (const store::Handle& object : report.damaged)
      json["damaged"].push_back({{"type", store::to_string(object.type)}, {"id", object.name}});
    for (const store::Handle& object : report.lost) json["lost"].push_back(object.name);
    context.print_json(dump(json));
  } else {
    for (const store::Handle& object : report.damaged)
      context.print(fmt::format("error: {} is damaged: no parity is made of damage", object.str()));
    for (const store::Handle& object : report.lost)
      context.print(
          fmt::format("error: {} is {}: its parity stays", object.str(),
                      options.named.known
                          ? "lost"
                          : "not there, and the indexes that can be read do not tell whether it was lost"));
    if (report.groups_kept > 0)
      context.print(
          fmt::format("{} groups that were to be replaced stay: they may heal what is damaged or lost",
                      report.groups_kept));
    if (!report.damaged.empty() || !report.lost.empty())
      context.print("`respaldo check --repair` heals what can be healed; then update again");
    if (context.options().verbosity > 0)
      context.print(fmt::format("parity made for {} objects, removed for {}; {} groups made, {} removed",
                                report.made, report.removed, report.groups_made, report.groups_removed));
  }
  return report.damaged.empty() && report.lost.empty() ? app::ExitCode::ok : app::ExitCode::damaged;
}

app::ExitCode enable(app::Context& context, const Options& options) {
  if (options.words.size() > 1) throw Error(ErrorKind::usage, "`parity enable` takes one percentage");
  const parity::Settings settings =
      parity::parse_settings(options.words.empty() ? "5%" : options.words.front(), options.groups);
  {
    const auto lock = lock_repository(context, repo::LockKind::exclusive);
    parity::save_settings(parity::plain(context.repository().backend()), settings);
  }
  if (!context.options().json) context.print(fmt::format("parity: {}", parity::describe(settings)));
  return update(context);
}

app::ExitCode disable(app::Context& context, const Options& options) {
  // What was cut off is ended.
  if (!parity::is_left_behind(context.repository().backend()))
    settings_of(parity::plain(context.repository().backend()));
  const auto lock = lock_repository(context, repo::LockKind::exclusive);
  const std::uint64_t bytes = parity::look_at_coverage(context.repository().backend()).parity_bytes;
  if (!context.confirm(
          fmt::format("Remove {} of parity? Damage can then be found, but not healed.", format_size(bytes)),
          options.yes))
    return app::ExitCode::failed;
  lock->require();
  parity::disable(context.repository().backend());
  if (context.options().json)
    context.print_json(dump({{"removed_bytes", bytes}}));
  else if (context.options().verbosity > 0)
    context.print(fmt::format("{} of parity removed", format_size(bytes)));
  return app::ExitCode::ok;
}

app::ExitCode restore(app::Context& context, const Options& options) {
  store::Backend& backend = context.repository().backend();
  const auto lock = lock_repository(context, repo::LockKind::exclusive);
  settings_of(parity::plain(backend));
  const std::vector<store::Handle> lost =
      parity::lost_objects(backend, {}, context.progress(), context.stop());
  parity::RepairOptions repair;
  repair.before_replacing = [&] { lock->require(); };
  for (const std::string& id : options.words) {
    const std::size_t before = repair.only.size();
    for (const store::Handle& object : lost)
      if (!id.empty() && object.name.starts_with(id)) repair.only.push_back(object);
    if (repair.only.size() == before)
      throw Error(ErrorKind::not_found, fmt::format("no lost object has the ID {}", printable(id)),
                  "`respaldo parity restore` lists them");
  }
  Json json = Json::array();
  if (repair.only.empty()) {
    for (const store::Handle& object : lost) {
      json.push_back({{"type", store::to_string(object.type)}, {"id", object.name}});
      if (!context.options().json)
        context.print(fmt::format("{:<9} {}", store::to_string(object.type), object.name));
    }
    if (lost.empty() && !context.options().json) context.print("nothing that parity knows of is missing");
    if (context.options().json) context.print_json(dump(json));
    return app::ExitCode::ok;
  }
  const parity::RepairReport report = parity::repair(backend, repair, context.progress(), context.stop());
  for (const parity::RepairItem& item : report.items) {
    json.push_back({{"outcome", parity::to_string(item.outcome)},
                    {"type", store::to_string(item.object.type)},
                    {"id", item.object.name},
                    {"message", item.message}});
    if (!context.options().json) context.print(item.message);
  }
  if (context.options().json) context.print_json(dump(json));
  return report.ok() ? app::ExitCode::ok : app::ExitCode::damaged;
}

app::ExitCode run(app::Context& context, const Options& options) {
  context.bypass_cache();
  if (options.action == "enable") return enable(context, options);
  if (options.action == "restore") return restore(context, options);
  if (!options.words.empty())
    throw Error(ErrorKind::usage, fmt::format("`parity {}` takes no further words", options.action),
                "see `respaldo parity --help`");
  if (options.action == "update") return update(context);
  if (options.action == "disable") return disable(context, options);
  return status(context);
}

}  // namespace

Action configure_parity(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option(
         "action", options->action,
         "status: how much is protected (needs no password);\n"
         "enable: make parity from now on, and for what is there;\n"
         "update: bring it up to date after another program wrote or pruned;\n"
         "disable: remove all parity;\n"
         "restore: bring back keys, indexes and backups' objects that were lost; without ID: list them")
      ->check(CLI::IsMember({"status", "enable", "update", "disable", "restore"}))
      ->capture_default_str();
  app.add_option("words", options->words,
                 "of enable: parity of each pack, 1% to 100% of it [5%]; of restore: IDs")
      ->type_name("PERCENT|ID");
  app.add_option("--groups", options->groups,
                 "of enable: parity over packs as well, MEMBERS+PARITY (20+1): a lost pack comes back")
      ->type_name("N+M");
  app.add_flag("-y,--yes", options->yes, "of disable: do not ask");
  return [options](app::Context& context) { return run(context, *options); };
}

}  // namespace respaldo::cli
