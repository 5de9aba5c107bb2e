// Commands that work on the system's snapshots.
#pragma once

#include "cli/command.h"

namespace respaldo::cli {

Action configure_snapshot(CLI::App& app);
Action configure_clean(CLI::App& app);

}  // namespace respaldo::cli
