// A job of the configuration, from its first step to the last word about it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/context.h"
#include "cli/nested.h"
#include "config/config.h"

namespace respaldo::cli {

enum class StepOutcome {
  done,
  incomplete,  // a backup was saved, but something is missing from it
  failed,
  skipped,  // something before it went wrong
  planned,  // of a dry run
};

struct Step {
  std::string name;  // "backup", "forget", "prune", "check", "success hook"
  StepOutcome outcome = StepOutcome::done;
  int exit_code = 0;
  double seconds = 0;
  std::string message, hint;  // how it went, for people
  std::vector<std::string> warnings;
  Json result;  // the command's own document; null when it was not run
};

struct JobOutcome {
  std::string job;
  std::int64_t started = 0, ended = 0;  // seconds since 1970
  double seconds = 0;
  int exit_code = 0;
  std::vector<std::string> volumes;
  std::vector<Step> steps;
  // The first step that did not go well; null when all did.
  const Step* trouble() const;
};

// The words of the commands that the job is made of.
std::vector<std::string> backup_words(const config::Config& config, const config::Job& job,
                                      const std::vector<std::string>& volumes);
std::vector<std::string> forget_words(const config::Config& config, const config::Job& job);
std::vector<std::string> care_words(const config::Config& config, const config::Job& job,
                                    const std::string& command);
// The tag that tells a job's backups from others: its `keep` is about these alone.
std::string job_tag(const config::Job& job);

// Does the job, or says what would be done. Error(busy) when another run of it is at work. What else goes
// wrong is in the outcome; metrics, report, hooks and messages have been seen to.
JobOutcome run_job(app::Context& context, const config::Config& config, const config::Job& job, bool dry_run);

}  // namespace respaldo::cli
