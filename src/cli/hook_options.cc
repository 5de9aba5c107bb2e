#include "cli/hook_options.h"

#include <fmt/format.h>

#include "base/words.h"
#include "job/hook.h"

namespace respaldo::cli {

namespace {

std::chrono::seconds duration(const std::string& text, const char* option) {
  if (const auto value = config::try_parse_duration(text); value && value->count() > 0) return *value;
  throw Error(ErrorKind::usage, fmt::format("{}: '{}' is no time", option, text), "write 30s, 5m or 1h");
}

job::Facts facts_of(const app::Context& context, const backup::BackupOptions& plan) {
  std::string volumes;
  for (const engine::VolumeName& name : plan.volumes) volumes += (volumes.empty() ? "" : " ") + name.str();
  return {{"VOLUMES", volumes}, {"REPOSITORY", context.shown_location()}};
}

void tell_failure(app::Context& context, const config::Hooks& hooks, job::Facts facts,
                  const std::string& what) {
  facts.emplace_back("ERROR", what);
  try {
    job::run_hook("failure", hooks.failure, hooks.deadline, facts);
  } catch (const Error& error) {
    context.warn(error.what());
  }
}

}  // namespace

void add_hook_options(CLI::App& app, HookOptions& options) {
  const auto command = [&](const char* name, std::string& value, const char* help) {
    app.add_option(name, value, help)->type_name("COMMAND");
  };
  command("--hook-before", options.before, "run before the snapshot is taken (freezes a database, say)");
  command("--hook-after", options.after, "run when the snapshot is there, or could not be taken; always");
  command("--hook-success", options.success, "run when the backup is saved");
  command("--hook-failure", options.failure, "run when it failed");
  app.add_option("--hook-deadline", options.deadline, "how long a hook may take before it is killed")
      ->type_name("TIME")
      ->capture_default_str();
  app.add_option("--hook-thaw-after", options.thaw_after,
                 "when the snapshot takes longer, --hook-after is run at once and the backup fails")
      ->type_name("TIME")
      ->capture_default_str();
}

config::Hooks hooks_of(const HookOptions& options) {
  config::Hooks hooks;
  hooks.before_snapshot = split_words(options.before, "--hook-before");
  hooks.after_snapshot = split_words(options.after, "--hook-after");
  hooks.success = split_words(options.success, "--hook-success");
  hooks.failure = split_words(options.failure, "--hook-failure");
  hooks.deadline = duration(options.deadline, "--hook-deadline");
  hooks.thaw_after = duration(options.thaw_after, "--hook-thaw-after");
  if (!hooks.before_snapshot.empty() && hooks.after_snapshot.empty())
    throw Error(ErrorKind::usage, "--hook-before needs --hook-after",
                "what is frozen must thaw; a command that does nothing is `true`");
  return hooks;
}

backup::BackupSummary run_with_hooks(app::Context& context, const config::Hooks& hooks,
                                     backup::BackupOptions& plan,
                                     const std::function<backup::BackupSummary()>& body) {
  const job::Facts facts = facts_of(context, plan);
  job::SnapshotFreeze freeze(hooks, facts, context.stop());
  if (!hooks.before_snapshot.empty() || !hooks.after_snapshot.empty()) plan.hooks = &freeze;
  backup::BackupSummary summary;
  try {
    summary = body();
  } catch (const std::exception& error) {
    tell_failure(context, hooks, facts, error.what());
    throw;
  }
  job::Facts all = facts;
  if (summary.id) all.emplace_back("BACKUP", summary.id->hex());
  try {
    job::run_hook("success", hooks.success, hooks.deadline, all);
  } catch (const Error& error) {
    summary.warnings.push_back(error.what());
  }
  return summary;
}

}  // namespace respaldo::cli
