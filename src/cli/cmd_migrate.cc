// migrate: a volume goes to another physical volume of its group, or to another group.
#include "cli/cmd_migrate.h"

#include <fmt/ranges.h>

#include "base/printable.h"
#include "base/units.h"
#include "cli/migrate_group.h"
#include "cli/shared.h"
#include "engine/volume_moves.h"

namespace respaldo::cli {

namespace {

using engine::MoveOutcome;
using engine::MovePlan;

struct Options {
  std::string volume, to, cow;
  bool abort = false;
};

void report(app::Context& context, const MovePlan& plan, const char* outcome, const std::string& text) {
  if (context.options().json) {
    Json json = {
        {"volume", plan.volume.str()}, {"from", plan.from}, {"bytes", plan.bytes}, {"outcome", outcome}};
    json["to"] = plan.to.empty() ? Json() : Json(plan.to);
    context.print_json(dump(json));
  } else if (context.options().verbosity > 0) {
    context.print(text);
  }
}

app::ExitCode move(app::Context& context, const engine::VolumeName& volume, const std::string& to) {
  engine::VolumeMoves& moves = engine::volume_moves(context.engine());
  const MovePlan plan = moves.plan_move(volume, to);
  const std::string title = printable(volume.str()), target = printable(plan.to);
  if (plan.nothing_to_do()) {
    report(context, plan, "already", fmt::format("{} is on {} already", title, target));
    return app::ExitCode::ok;
  }
  if (!context.options().json && context.options().verbosity > 0)
    context.print(fmt::format("{} {} from {} to {}{}", plan.begun ? "going on with moving" : "moving", title,
                              printable(fmt::format("{}", fmt::join(plan.from, ", "))), target,
                              plan.begun ? "" : " (" + format_size(plan.bytes) + ")"));
  const MoveOutcome outcome = moves.move(plan, context.progress(), context.stop());
  for (const std::string& warning : context.engine().warnings()) context.warn(warning);
  switch (outcome) {
    case MoveOutcome::moved:
      report(context, plan, "moved", fmt::format("{} is on {}", title, target));
      return app::ExitCode::ok;
    case MoveOutcome::taken_back:
      report(context, plan, "taken back",
             fmt::format("interrupted; what was begun is taken back: see `lvs -o+devices {}`", title));
      break;
    case MoveOutcome::goes_on:
      report(
          context, plan, "goes on",
          fmt::format(
              "the move goes on by itself; this command again shows how far it is, --abort takes it back"));
      break;
  }
  return app::ExitCode::interrupted;
}

app::ExitCode abort_move(app::Context& context, const engine::VolumeName& volume) {
  const MovePlan plan = engine::volume_moves(context.engine()).abort_move(volume);
  report(context, plan, "taken back",
         fmt::format("{} is on {}", printable(volume.str()),
                     printable(fmt::format("{}", fmt::join(plan.from, ", ")))));
  return app::ExitCode::ok;
}

app::ExitCode migrate(app::Context& context, const Options& options) {
  if (options.abort == !options.to.empty())
    throw Error(ErrorKind::usage, "say where to with --to, or --abort",
                "`pvs` lists the physical volumes, `vgs` the groups");
  const auto volume = engine::VolumeName::parse(options.volume);
  if (options.abort)
    return abort_migration_to_group(context, volume) ? app::ExitCode::ok : abort_move(context, volume);
  if (is_other_group(context, volume, options.to))
    return migrate_to_group(context, volume, options.to, options.cow);
  if (!options.cow.empty())
    throw Error(ErrorKind::usage, "--cow is for moves to another group", "inside a group nothing is snapshotted");
  return move(context, volume, options.to);
}

}  // namespace

Action configure_migrate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("volume", options->volume, "the volume")->required()->type_name("VG/LV");
  app.add_option("--to", options->to, "a physical volume of its group, another group, or a name there")
      ->type_name("PV|VG|VG/LV");
  app.add_option("--cow", options->cow,
                 "to another group: the size of the snapshot's COW store, as of `backup`; auto when not given")
      ->type_name("SIZE")
      ->check(taken_by(parse_cow));
  app.add_flag("--abort", options->abort, "take back a move that is not over");
  return [options](app::Context& context) { return migrate(context, *options); };
}

}  // namespace respaldo::cli
