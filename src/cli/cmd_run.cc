#include "base/units.h"
#include "cli/command.h"
#include "cli/job_run.h"
#include "cli/job_text.h"

namespace respaldo::cli {

namespace {

struct Options {
  std::string job;
  bool dry_run = false;
};

app::ExitCode run(app::Context& context, const Options& options) {
  const config::Config config = config::load(config_file(context), vocabulary());
  const config::Job& job = config.job(options.job);
  for (const std::string& text : config::shared_files(config, job.name)) context.warn(text);
  const JobOutcome outcome = run_job(context, config, job, options.dry_run);
  if (context.options().json) {
    context.print_json(dump(outcome_json(outcome)));
  } else if (options.dry_run) {
    for (const Step& step : outcome.steps) context.print(step_text(step));
  } else if (context.options().verbosity > 0) {
    context.print(fmt::format("job {}: {}, {}", job.name,
                              outcome.exit_code == 0
                                  ? std::string("all went well")
                                  : fmt::format("not all went well (exit code {})", outcome.exit_code),
                              format_duration(outcome.seconds)));
  }
  return static_cast<app::ExitCode>(outcome.exit_code);
}

}  // namespace

Action configure_run(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("job", options->job, "the job's name in the configuration")->required()->type_name("JOB");
  app.add_flag("-n,--dry-run", options->dry_run, "say which commands would be run now, and run none");
  return [options](app::Context& context) { return run(context, *options); };
}

}  // namespace respaldo::cli
