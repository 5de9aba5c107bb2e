// The hooks of `backup` on its command line.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "app/context.h"
#include "backup/backup.h"
#include "config/config.h"

namespace respaldo::cli {

struct HookOptions {
  std::string before, after, success, failure, deadline = "60s", thaw_after = "60s";
};

void add_hook_options(CLI::App& app, HookOptions& options);
// Error(usage) for lines and times that cannot be read, and for a freeze without a thaw.
config::Hooks hooks_of(const HookOptions& options);

// Runs `body` with the hooks around the snapshot in `plan`, and the one for success or failure after it. A
// success hook that fails is told, and does not undo the backup.
backup::BackupSummary run_with_hooks(app::Context& context, const config::Hooks& hooks,
                                     backup::BackupOptions& plan,
                                     const std::function<backup::BackupSummary()>& body);

}  // namespace respaldo::cli
