// The commands for the care of a repository.
#pragma once

#include "cli/command.h"

namespace respaldo::cli {

Action configure_forget(CLI::App& app);
Action configure_prune(CLI::App& app);
Action configure_repair(CLI::App& app);
Action configure_copy(CLI::App& app);

}  // namespace respaldo::cli
