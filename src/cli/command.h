// What a command is: a name, a help text, options, and what it does.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <utility>
#include <vector>

#include "app/context.h"

namespace respaldo::cli {

using Action = std::function<app::ExitCode(app::Context&)>;

struct Command {
  const char* name;
  const char* group;    // heading in --help
  const char* summary;  // one line
  const char* example;  // shown below the options
  // Adds options and arguments to `app`; the action runs after they were parsed.
  Action (*configure)(CLI::App& app);
};

// In the order of --help.
const std::vector<Command>& commands();

// For an option's value: what `parse` throws is told as it is, by the command line before anything is done, and by
// `config check` at the value's place.
CLI::Validator taken_by(std::function<void(const std::string&)> parse);

// The parser of the whole program: what `respaldo --help` shows, and what the manual pages and the completion
// are made of. After app.parse() the other members hold what was given.
struct CommandLine {
  CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  CLI::App app;
  app::CommonOptions options;
  int verbose = 0;
  bool quiet = false;
  std::vector<std::pair<CLI::App*, Action>> actions;  // of each command
};

Action configure_init(CLI::App& app);
Action configure_backup(CLI::App& app);
Action configure_list(CLI::App& app);
Action configure_show(CLI::App& app);
Action configure_ls(CLI::App& app);
Action configure_cat(CLI::App& app);
Action configure_find(CLI::App& app);
Action configure_diff(CLI::App& app);
Action configure_mount(CLI::App& app);
Action configure_restore(CLI::App& app);
Action configure_export(CLI::App& app);
Action configure_dump(CLI::App& app);
Action configure_check(CLI::App& app);
Action configure_parity(CLI::App& app);
Action configure_key(CLI::App& app);
Action configure_unlock(CLI::App& app);
Action configure_layout(CLI::App& app);
Action configure_target(CLI::App& app);
Action configure_doctor(CLI::App& app);
Action configure_activate(CLI::App& app);
Action configure_lvm(CLI::App& app);
Action configure_drill(CLI::App& app);
Action configure_run(CLI::App& app);
Action configure_config(CLI::App& app);
Action configure_version(CLI::App& app);

}  // namespace respaldo::cli
