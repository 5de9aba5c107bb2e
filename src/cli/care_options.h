// Options and words that the commands for the care of a repository share.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "care/selection.h"
#include "cli/shared.h"

namespace respaldo::cli {

// --host, --tag, --path (a volume may be written VG/LV), --volume, as they were typed.
struct FilterWords {
  std::vector<std::string> hosts, tags, paths, volumes;
  care::BackupFilter filter() const;  // Error(usage)
};
void add_filter_options(CLI::App& app, FilterWords& words);

// An option that may be given several times, one value each.
CLI::Option* add_repeatable(CLI::App& app, const std::string& name, std::vector<std::string>& values,
                            const std::string& help, const std::string& type);

// The backups of the repository; Error(corrupt) when one cannot be read, with what to do.
std::vector<repo::NamedSnapshot> readable_backups(app::Context& context);
// Those that the IDs (prefixes, "latest") name, each once; without IDs, all that match the filter. "latest" is the
// newest of these. Error(usage) for an ID of another backup: what is to be done with it cannot be told.
std::vector<repo::NamedSnapshot> select_backups(const std::vector<repo::NamedSnapshot>& all,
                                                const std::vector<std::string>& ids,
                                                const care::BackupFilter& filter);

// A warning when a filter leaves nothing of what there is: it may be misspelt.
void warn_if_none_fits(app::Context& context, std::size_t there, std::size_t fitting);

Json backup_json(const repo::NamedSnapshot& backup);  // id, short_id, time, hostname, paths, tags
// "4f2c8a01  2026-11-23 18:40:34  host  vg0/root  [nightly]"
std::string backup_line(const repo::NamedSnapshot& backup);

}  // namespace respaldo::cli
