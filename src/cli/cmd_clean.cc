// clean: what runs that died left behind.
#include "base/printable.h"
#include "cli/cmd_snapshot.h"
#include "cli/shared.h"

namespace respaldo::cli {

namespace {

app::ExitCode clean(app::Context& context, bool dry_run) {
  const engine::CleanReport report = context.engine().clean({.dry_run = dry_run});
  for (const std::string& warning : context.engine().warnings()) context.warn(warning);
  Json json = Json::array();
  bool failed = false;
  for (const auto& item : report.items) {
    failed |= !item.problem.empty();
    if (context.options().json)
      json.push_back({{"what", item.what}, {"problem", item.problem}});
    else if (!item.problem.empty())
      context.warn(fmt::format("{} is still there: {}", item.what, printable(item.problem)));
    else if (context.options().verbosity > 0)
      context.print(fmt::format("{} {}", dry_run ? "would remove" : "removed", item.what));
  }
  if (context.options().json)
    context.print_json(dump({{"dry_run", dry_run}, {"items", std::move(json)}}));
  else if (report.items.empty() && context.options().verbosity > 0)
    context.print("nothing was left behind");
  return failed ? app::ExitCode::failed : app::ExitCode::ok;
}

}  // namespace

Action configure_clean(CLI::App& app) {
  auto dry_run = std::make_shared<bool>(false);
  app.add_flag("-n,--dry-run", *dry_run, "only say what would be removed");
  return [dry_run](app::Context& context) { return clean(context, *dry_run); };
}

}  // namespace respaldo::cli
