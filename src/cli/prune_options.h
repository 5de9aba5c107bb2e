// Options of prune, which forget --prune takes too, and how its result is told.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "care/prune.h"
#include "cli/shared.h"

namespace respaldo::cli {

struct PruneWords {
  std::string max_unused = "5%", max_repack_size, pack_size = "16M";
  bool repack_cacheable_only = false, repack_uncompressed = false;
  care::PruneOptions options() const;  // Error(usage)
};
std::vector<CLI::Option*> add_prune_options(CLI::App& app, PruneWords& words);

// A folder that lists nothing has nothing; who answers for a store far away may be wrong.
bool believes_that_there_are_no_backups(const app::Context& context);

void warn_of_damage(app::Context& context, const care::PruneReport& report);
Json prune_json(const care::PruneReport& report, bool dry_run);
void print_prune(app::Context& context, const care::PruneReport& report, bool dry_run);

}  // namespace respaldo::cli
