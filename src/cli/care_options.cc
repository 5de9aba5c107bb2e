#include "cli/care_options.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/units.h"
#include "care/policy.h"
#include "engine/volume_engine.h"
#include "parity/parity_backend.h"

namespace respaldo::cli {

namespace {

constexpr const char* kFilterHint = "`respaldo list` shows hosts, volumes and tags";

}  // namespace

CLI::Option* add_repeatable(CLI::App& app, const std::string& name, std::vector<std::string>& values,
                            const std::string& help, const std::string& type) {
  return app.add_option(name, values, help)
      ->type_name(type)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_filter_options(CLI::App& app, FilterWords& words) {
  add_repeatable(app, "--host", words.hosts, "only backups of this host; may be given several times", "HOST");
  add_repeatable(app, "--tag", words.tags,
                 "only backups that have all these tags (a,b); of several such lists, one is enough", "TAGS");
  add_repeatable(app, "--path", words.paths, "only backups with this path, as stored (/dev/VG/LV)", "PATH");
  add_repeatable(app, "--volume", words.volumes, "only backups of this volume", "VG/LV");
}

care::BackupFilter FilterWords::filter() const {
  care::BackupFilter filter;
  filter.hosts = hosts;
  for (const std::string& list : tags) filter.tags.push_back(care::parse_tag_list(list));
  for (const std::string& path : paths)
    filter.paths.push_back(path.starts_with('/') || path.find('/') == path.npos ? path : "/dev/" + path);
  for (const std::string& volume : volumes)
    filter.paths.push_back("/dev/" + engine::VolumeName::parse(volume).str());
  return filter;
}

std::vector<repo::NamedSnapshot> readable_backups(app::Context& context) {
  std::vector<std::string> damaged;
  auto all = context.repository().snapshots(&damaged);
  if (damaged.empty()) return all;
  for (const std::string& problem : damaged) context.warn(problem);
  throw Error(ErrorKind::corrupt, fmt::format("{} cannot be read; nothing was done", counted(damaged.size(), "backup")),
              parity::heal_first(context.repository().backend()) +
                  "`respaldo repair snapshots --forget` removes those that nothing can read");
}

std::vector<repo::NamedSnapshot> select_backups(const std::vector<repo::NamedSnapshot>& all,
                                                const std::vector<std::string>& ids,
                                                const care::BackupFilter& filter) {
  std::vector<repo::NamedSnapshot> fitting, selected;
  std::ranges::copy_if(all, std::back_inserter(fitting),
                       [&](const repo::NamedSnapshot& backup) { return filter.matches(backup.snapshot); });
  if (ids.empty()) return fitting;
  for (const std::string& id : ids) {
    const bool latest = id == "latest" || id.starts_with("latest:");
    if (latest && fitting.empty() && !all.empty())
      throw Error(ErrorKind::not_found, fmt::format("no backup fits the filter: {} is none", printable(id)), kFilterHint);
    if (latest && filter.hosts.empty())
      if (const auto newest = repo::latest_of_hosts(fitting, id); newest.size() > 1)
        throw several_hosts(newest, id == "latest" ? std::nullopt : std::optional(id.substr(id.find(':') + 1)));
    repo::NamedSnapshot found = repo::find_snapshot(latest ? fitting : all, id);
    if (!filter.matches(found.snapshot))
      throw Error(ErrorKind::usage,
                  fmt::format("backup {} does not fit the filter: {}", found.id.short_hex(), printable(backup_line(found))),
                  "leave out --host, --tag, --path and --volume, or name another backup");
    if (std::ranges::find(selected, found.id, &repo::NamedSnapshot::id) == selected.end())
      selected.push_back(std::move(found));
  }
  return selected;
}

void warn_if_none_fits(app::Context& context, std::size_t there, std::size_t fitting) {
  if (there > 0 && fitting == 0)
    context.warn(fmt::format("no backup fits: {}", kFilterHint));
}

Json backup_json(const repo::NamedSnapshot& backup) {
  const repo::Snapshot& s = backup.snapshot;
  return {{"id", backup.id.hex()},
          {"short_id", backup.id.short_hex()},
          {"time", format_time(s.time)},
          {"hostname", s.hostname},
          {"paths", s.paths},
          {"tags", s.tags}};
}

std::string backup_line(const repo::NamedSnapshot& backup) {
  const repo::Snapshot& s = backup.snapshot;
  std::vector<std::string> volumes;
  for (const std::string& path : s.paths)
    volumes.push_back(path.starts_with("/dev/") ? path.substr(5) : path);
  std::string line =
      fmt::format("{}  {}  {}  {}", backup.id.short_hex(), local_time(s.time), printable(s.hostname),
                  printable(fmt::format("{}", fmt::join(volumes, ", "))));
  if (!s.tags.empty()) line += printable(fmt::format("  [{}]", fmt::join(s.tags, ", ")));
  return line;
}

}  // namespace respaldo::cli
