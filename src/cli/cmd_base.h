// The command `base`.
#pragma once

#include "cli/command.h"

namespace respaldo::cli {

Action configure_base(CLI::App& app);

}  // namespace respaldo::cli
