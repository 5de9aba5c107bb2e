// The command `migrate`.
#pragma once

#include "cli/command.h"

namespace respaldo::cli {

Action configure_migrate(CLI::App& app);

}  // namespace respaldo::cli
