// The hooks of `backup` on its command line.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "app/context.h"
#include "backup/backup.h"
#include "config/config.h"
#include "job/hook.h"

namespace respaldo::cli {

struct HookOptions {
  std::string before, after, success, failure, deadline = "60s", thaw_after = "60s";
};

void add_hook_options(CLI::App& app, HookOptions& options);
// Error(usage) for lines and times that cannot be read, and for a freeze without a thaw.
config::Hooks hooks_of(const HookOptions& options);

// Runs `body` with the hooks around the snapshot in `plan`, and in the end the one for success or failure, whatever
// `body` threw: for success only with ExitCode::ok, and not for a dry run. What else they should know `body` adds to
// their facts. One that fails is told, and changes nothing any more.
app::ExitCode run_with_hooks(app::Context& context, const config::Hooks& hooks, backup::BackupOptions& plan,
                             const std::function<app::ExitCode(job::Facts&)>& body);

}  // namespace respaldo::cli
