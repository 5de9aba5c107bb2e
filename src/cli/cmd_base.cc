#include "cli/cmd_base.h"

#include "base/printable.h"
#include "base/units.h"
#include "cli/shared.h"
#include "engine/base.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::string action = "list", volume;
  bool yes = false;
};

engine::BaseEngine& base_engine(app::Context& context) {
  engine::BaseEngine* engine = engine::base_engine(context.engine());
  if (engine == nullptr) throw Error(ErrorKind::unsupported, "this engine keeps no bases");
  return *engine;
}

// All, or those of a volume, or the one that is named.
std::vector<engine::BaseInfo> bases_of(app::Context& context, const std::string& volume) {
  std::vector<engine::BaseInfo> found = base_engine(context).list_bases();
  if (volume.empty()) return found;
  const engine::VolumeName wanted = engine::VolumeName::parse(volume);
  std::erase_if(found, [&](const engine::BaseInfo& base) {
    return base.name != wanted && engine::VolumeName{base.name.vg, base.volume} != wanted;
  });
  return found;
}

std::string fill_of(const engine::BaseInfo& base) {
  if (!base.cow) return "";
  if (!base.cow->valid) return ", dead: its COW store overflowed, or failed";
  return fmt::format(", {:.1f}% of {} used", base.cow->percent_x100 / 100.0, format_size(base.cow->size));
}

app::ExitCode list(app::Context& context, const Options& options) {
  const auto bases = bases_of(context, options.volume);
  if (context.options().json) {
    Json json = Json::array();
    for (const engine::BaseInfo& base : bases) {
      Json one = {{"base", base.name.str()},
                  {"volume", base.name.vg + "/" + base.volume},
                  {"uuid", base.uuid},
                  {"token", base.token}};
      if (base.cow) {
        one["cow_size"] = base.cow->size;
        one["cow_used"] = base.cow->used;
        one["valid"] = base.cow->valid;
      }
      json.push_back(std::move(one));
    }
    context.print_json(dump(json));
    return app::ExitCode::ok;
  }
  for (const engine::BaseInfo& base : bases)
    context.print(fmt::format("{} of {}/{}{}", printable(base.name.str()), printable(base.name.vg),
                              printable(base.volume), fill_of(base)));
  if (bases.empty() && context.options().verbosity > 0)
    context.print("no bases; `respaldo backup --keep-base` keeps one");
  return app::ExitCode::ok;
}

app::ExitCode remove(app::Context& context, const Options& options) {
  const auto bases = bases_of(context, options.volume);
  if (bases.empty())
    throw Error(ErrorKind::not_found, fmt::format("{} has no base", printable(options.volume)),
                "`respaldo base list` shows those that are there");
  std::string names;
  for (const engine::BaseInfo& base : bases)
    names += (names.empty() ? "" : ", ") + printable(base.name.str());
  if (!context.confirm(fmt::format("Remove {}? The next backup then reads everything.", names), options.yes))
    throw Error(ErrorKind::refused, "nothing was removed");
  Json removed = Json::array();
  for (const engine::BaseInfo& base : bases) {
    remember_removed_base(context, base.token);
    base_engine(context).remove_base(base.name, base.uuid);
    removed.push_back(base.name.str());
  }
  if (context.options().json)
    context.print_json(dump({{"removed", std::move(removed)}}));
  else if (context.options().verbosity > 0)
    context.print(fmt::format("removed {}", names));
  return app::ExitCode::ok;
}

}  // namespace

Action configure_base(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("action", options->action, "list, or remove")
      ->check(CLI::IsMember({"list", "remove"}))
      ->capture_default_str();
  app.add_option("volume", options->volume, "a volume, or one of its bases")->type_name("VG/LV");
  app.add_flag("-y,--yes", options->yes, "do not ask");
  return [options](app::Context& context) {
    if (options->action == "list") return list(context, *options);
    if (options->volume.empty())
      throw Error(ErrorKind::usage, "no volume was named", "`respaldo base list` shows which have bases");
    return remove(context, *options);
  };
}

}  // namespace respaldo::cli
