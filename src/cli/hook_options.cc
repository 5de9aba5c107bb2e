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
  std::string volumes, repository;
  for (const engine::VolumeName& name : plan.volumes) volumes += (volumes.empty() ? "" : " ") + name.str();
  try {
    repository = context.shown_location();
  } catch (const Error&) {
    // None is named: the run fails of that, and the hook is told.
  }
  return {{"VOLUMES", volumes}, {"REPOSITORY", repository}};
}

// Not to be interrupted: whoever waits for word gets it on Ctrl-C, too.
void tell(app::Context& context, const config::Hooks& hooks, job::Facts facts, app::ExitCode code) {
  facts.emplace_back("EXIT_CODE", std::to_string(static_cast<int>(code)));
  const bool good = code == app::ExitCode::ok;
  try {
    job::run_hook(good ? "success" : "failure", good ? hooks.success : hooks.failure, hooks.deadline, facts);
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
  command("--hook-success", options.success, "run in the end, when the backup is saved and whole");
  command("--hook-failure", options.failure, "run in the end, when it failed or is incomplete");
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

app::ExitCode run_with_hooks(app::Context& context, const config::Hooks& hooks, backup::BackupOptions& plan,
                             const std::function<app::ExitCode(job::Facts&)>& body) {
  job::Facts facts = facts_of(context, plan);
  job::SnapshotFreeze freeze(hooks, facts, context.stop());
  if (!hooks.before_snapshot.empty() || !hooks.after_snapshot.empty()) plan.hooks = &freeze;
  app::ExitCode code = app::ExitCode::failed;
  try {
    code = body(facts);
  } catch (const std::exception& thrown) {
    facts.emplace_back("ERROR", thrown.what());
    tell(context, hooks, facts, app::exit_code_for(thrown));
    throw;
  }
  if (code != app::ExitCode::ok || !plan.dry_run) tell(context, hooks, facts, code);
  return code;
}

}  // namespace respaldo::cli
