// Snapshots by hand, guarded as those of a backup: create, list, watch, extend, merge, remove.
#include <chrono>
#include <thread>

#include "app/progress.h"
#include "base/printable.h"
#include "base/units.h"
#include "cli/cmd_snapshot.h"
#include "cli/shared.h"
#include "cli/snapshot_merge.h"
#include "engine/base.h"
#include "engine/snapshot_guard.h"
#include "os/thread_group.h"

namespace respaldo::cli {

namespace {

using engine::Amount;
using engine::VolumeInfo;
using engine::VolumeName;

struct Options {
  std::string volume, name, size, keep_free, min_pool_free, by;
  double interval = 1;
  unsigned count = 0;
  bool extend = false, yes = false;
  std::function<app::ExitCode(app::Context&, const Options&)> action;  // of the word after `snapshot`
};

Json cow_json(const engine::CowFigures& cow) {
  return {{"size", cow.size},
          {"used", cow.used},
          {"chunk", cow.chunk},
          {"percent", cow.percent_x100 / 100.0},
          {"valid", cow.valid}};
}

app::ExitCode create(app::Context& context, const Options& options) {
  engine::AcquireOptions how;
  if (!options.size.empty() && options.size != "auto") {
    const Amount size = Amount::parse(options.size, "--size", Amount::Of::origin);
    if (size.of == Amount::Of::bytes)
      how.cow_size = size.value;
    else
      how.cow_share = size;
  }
  if (!options.keep_free.empty())
    how.keep_free = Amount::parse(options.keep_free, "--keep-free", Amount::Of::vg);
  if (!options.min_pool_free.empty())
    how.min_pool_free = Amount::parse(options.min_pool_free, "--min-pool-free", Amount::Of::pool);
  const VolumeName origin = VolumeName::parse(options.volume);
  const auto tell_warnings = [&] {
    for (const std::string& warning : context.engine().warnings()) context.warn(warning);
  };
  VolumeName made;
  try {
    made = context.engine().create_snapshot(origin, options.name, how);
  } catch (...) {
    tell_warnings();
    throw;
  }
  tell_warnings();
  const VolumeInfo info = context.engine().find(made);
  if (context.options().json) {
    Json json = {{"snapshot", made.str()}, {"origin", origin.str()}};
    json["cow"] = info.cow ? cow_json(*info.cow) : Json();
    context.print_json(dump(json));
  } else if (context.options().verbosity == 0) {
    context.print(made.str());
  } else {
    context.print(
        fmt::format("made snapshot {} of {}{}", printable(made.str()), printable(origin.str()),
                    info.cow ? fmt::format(" with a COW store of {}", format_size(info.cow->size)) : ""));
  }
  return app::ExitCode::ok;
}

// Served images do not tell it of themselves.
std::string problem_of(const VolumeInfo& info) {
  if (info.unreadable.empty() && info.cow && !info.cow->valid)
    return "the snapshot is invalid: its COW store overflowed";
  return info.unreadable;
}

app::ExitCode list(app::Context& context, const Options&) {
  const std::vector<VolumeInfo> all = context.engine().list();
  for (const std::string& warning : context.engine().warnings()) context.warn(warning);
  Json json = Json::array();
  std::size_t shown = 0;
  for (const VolumeInfo& info : all) {
    if (!info.origin) continue;
    ++shown;
    if (context.options().json) {
      Json one = {{"snapshot", info.name.str()},
                  {"origin", info.name.vg + "/" + *info.origin},
                  {"kind", info.cow ? "thick" : "thin"},
                  {"size", info.size},
                  {"in_use", info.in_use}};
      one["cow"] = info.cow ? cow_json(*info.cow) : Json();
      if (const std::string problem = problem_of(info); !problem.empty()) one["problem"] = problem;
      json.push_back(std::move(one));
      continue;
    }
    std::string line =
        fmt::format("{:<32} of {}", printable(info.name.str()), printable(info.name.vg + "/" + *info.origin));
    if (info.cow && info.cow->valid)
      line +=
          fmt::format("  {:.2f}% of {} used", info.cow->percent_x100 / 100.0, format_size(info.cow->size));
    else if (!info.cow)
      line += "  thin";
    if (const std::string problem = problem_of(info); !problem.empty())
      line += fmt::format("  ({})", printable(problem));
    context.print(line);
  }
  if (context.options().json)
    context.print_json(dump(json));
  else if (shown == 0 && context.options().verbosity > 0)
    context.print("there is no snapshot");
  return app::ExitCode::ok;
}

// "vg0/snap  [########            ]  41.20% of 1.00 GiB, 1.20 MiB/s, full in 8:12"
std::string gauge_line(const std::string& name, const engine::CowFigures& cow, double rate) {
  constexpr unsigned kCells = 24;
  const unsigned filled = std::min(kCells, cow.percent_x100 * kCells / 10000);
  std::string line = fmt::format("{}  [{:<{}}]  {:.2f}% of {}", printable(name), std::string(filled, '#'),
                                 kCells, cow.percent_x100 / 100.0, format_size(cow.size));
  if (rate >= 1)
    line += fmt::format(", {}, full in {}", format_rate(rate),
                        format_duration(static_cast<double>(cow.size - std::min(cow.used, cow.size)) / rate));
  return line;
}

class Gauge {
 public:
  explicit Gauge(app::Context& context) : context_(context) {}
  ~Gauge() {
    if (drawn_) context_.world().out("\n");
  }
  void show(const std::string& name, const engine::CowFigures& cow, double rate) {
    app::World& world = context_.world();
    if (context_.options().json) {
      Json json = {{"event", "cow"},
                   {"snapshot", name},
                   {"used_bytes", cow.used},
                   {"size_bytes", cow.size},
                   {"percent", cow.percent_x100 / 100.0},
                   {"bytes_per_second", rate}};
      if (rate >= 1)
        json["seconds_to_full"] = static_cast<double>(cow.size - std::min(cow.used, cow.size)) / rate;
      world.out(dump(json) + "\n");
      return;
    }
    std::string line = gauge_line(name, cow, rate);
    if (!world.out_is_terminal) {
      world.out(line + "\n");
      return;
    }
    if (line.size() >= world.columns) line.resize(world.columns - 1);
    world.out(fmt::format("\r{}\x1b[K", line));
    drawn_ = true;
  }

 private:
  app::Context& context_;
  bool drawn_ = false;
};

// The lease speaks of a backup that is lost; here nothing was read.
void require_alive(const engine::SnapshotLease& lease, const VolumeName& name) {
  try {
    lease.require_valid();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::overflow) throw;
    throw Error(ErrorKind::overflow, fmt::format("snapshot {} is invalid: its COW store overflowed or failed", printable(name.str())),
                fmt::format("remove it (`respaldo snapshot remove {}`), and make a new one with a larger size", printable(name.str())));
  }
}

app::ExitCode watch(app::Context& context, const Options& options) {
  if (options.interval < 0.05 || options.interval > 3600)
    throw Error(ErrorKind::usage, "--interval is between 0.05 and 3600 seconds");
  const VolumeName name = VolumeName::parse(options.volume);
  const auto lease = context.engine().acquire_snapshot(name, engine::SnapshotUse::watching);
  if (!lease->cow())
    throw Error(ErrorKind::unsupported, fmt::format("{} has no COW store to watch", printable(name.str())),
                "of a thin snapshot the pool fills up: `lvs -o+data_percent,metadata_percent`");
  std::optional<engine::SnapshotGuard> guard;
  if (options.extend) {
    guard.emplace(engine::GuardOptions{}, context.progress(), [] { return std::nullopt; });
    guard->watch(*lease, name.str());
  }
  engine::FillRate rate;
  Gauge gauge(context);
  const auto begun = std::chrono::steady_clock::now();
  for (unsigned shown = 0; !context.stop().stop_requested();) {
    require_alive(*lease, name);
    const auto cow = lease->cow();
    if (!cow) continue;  // it has gone this moment, which the next look tells
    rate.add(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count(), cow->used);
    gauge.show(name.str(), *cow, rate.bytes_per_second());
    if (++shown == options.count) break;
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(options.interval);
    while (std::chrono::steady_clock::now() < until && !context.stop().stop_requested())
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (guard) guard->forget(*lease);
  return app::ExitCode::ok;
}

app::ExitCode extend(app::Context& context, const Options& options) {
  const VolumeName name = VolumeName::parse(options.volume);
  const std::uint64_t by =
      parse_size(options.by.starts_with('+') ? options.by.substr(1) : options.by, "--by", kMiB);
  const VolumeInfo before = context.engine().find(name);
  if (!before.origin)
    throw Error(ErrorKind::usage, fmt::format("{} is not a snapshot", printable(name.str())),
                "`respaldo snapshot list` shows them");
  if (!before.cow)
    throw Error(ErrorKind::unsupported, fmt::format("{} has no COW store to extend", printable(name.str())));
  const auto growth = context.engine().extend_snapshot(name, by);
  if (growth.added == 0)
    throw Error(ErrorKind::no_space,
                fmt::format("{} cannot be extended: {}", printable(name.str()), growth.why));
  const auto cow = context.engine().find(name).cow;
  if (context.options().json) {
    context.print_json(
        dump({{"snapshot", name.str()}, {"added", growth.added}, {"cow", cow ? cow_json(*cow) : Json()}}));
  } else if (context.options().verbosity > 0) {
    context.print(fmt::format(
        "extended {} by {}{}", printable(name.str()), format_size(growth.added),
        cow ? fmt::format(" to {} ({:.2f}% used)", format_size(cow->size), cow->percent_x100 / 100.0) : ""));
  }
  return app::ExitCode::ok;
}

app::ExitCode remove(app::Context& context, const Options& options) {
  const VolumeName name = VolumeName::parse(options.volume);
  const VolumeInfo info = context.engine().find(name);
  if (!info.origin)
    throw Error(ErrorKind::refused, fmt::format("{} is not a snapshot", printable(name.str())),
                "volumes are removed with lvremove");
  if (!context.confirm(fmt::format("remove snapshot {} of {}/{}?", printable(name.str()), printable(name.vg),
                                   printable(*info.origin)),
                       options.yes))
    throw Error(ErrorKind::refused, "nothing was removed");
  if (engine::BaseEngine* bases = engine::base_engine(context.engine()))
    for (const engine::BaseInfo& base : bases->list_bases())
      if (base.name == name && base.uuid == info.uuid) remember_removed_base(context, base.token);
  context.engine().remove_snapshot(name, info.uuid);
  if (context.options().json)
    context.print_json(dump({{"removed", name.str()}}));
  else if (context.options().verbosity > 0)
    context.print(fmt::format("removed {}", printable(name.str())));
  return app::ExitCode::ok;
}

}  // namespace

Action configure_snapshot(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.require_subcommand(1);
  const auto word = [&app, options](const char* name, const char* summary, auto action) {
    CLI::App* sub = app.add_subcommand(name, summary);
    sub->callback([options, action] { options->action = action; });
    return sub;
  };
  const auto snapshot_argument = [options](CLI::App* sub) {
    sub->add_option("snapshot", options->volume, "the snapshot")->required()->type_name("VG/SNAPSHOT");
  };
  CLI::App* make = word("create", "Make a snapshot of a volume; it stays until it is removed.", create);
  make->add_option("volume", options->volume, "the volume")->required()->type_name("VG/LV");
  make->add_option("-n,--name", options->name, "its name; made of the volume's and the time when left out")
      ->type_name("NAME");
  make->add_option("--size", options->size,
                   "of the COW store: 10G, 20%ORIGIN, 50%FREE; auto: a fifth of the volume")
      ->type_name("SIZE");
  make->add_option("--keep-free", options->keep_free,
                   "what it never takes of the group's free space: 1G, or 5% of the group")
      ->type_name("SIZE");
  make->add_option("--min-pool-free", options->min_pool_free, "refuse when the thin pool has less free [5%]")
      ->type_name("SIZE");
  word("list", "List the snapshots, with how full they are.", list);
  CLI::App* look = word("watch", "Show how a snapshot fills up, until it is interrupted.", watch);
  snapshot_argument(look);
  look->add_option("--interval", options->interval, "seconds between two looks")
      ->capture_default_str()
      ->type_name("SECONDS");
  look->add_option("--count", options->count, "end after so many looks; 0: never")
      ->capture_default_str()
      ->type_name("N");
  look->add_flag("--extend", options->extend, "extend it when it fills up, as a backup does");
  CLI::App* grow = word("extend", "Give a snapshot's COW store more room.", extend);
  snapshot_argument(grow);
  grow->add_option("--by", options->by, "how much more: 1G")->required()->type_name("SIZE");
  CLI::App* back =
      word("merge", "Roll a volume back to its snapshot, which then goes away.",
           [](app::Context& context, const Options& o) {
             return merge_snapshot(context, VolumeName::parse(o.volume), o.yes);
           });
  snapshot_argument(back);
  back->add_flag("-y,--yes", options->yes, "do not ask");
  CLI::App* drop = word("remove", "Remove a snapshot; nothing else is ever removed.", remove);
  snapshot_argument(drop);
  drop->add_flag("-y,--yes", options->yes, "do not ask");
  return [options](app::Context& context) { return options->action(context, *options); };
}

}  // namespace respaldo::cli
