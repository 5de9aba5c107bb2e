// How a job's outcome is told: to people, as JSON, by mail, and to Prometheus.
#pragma once

#include <string>

#include "cli/job_run.h"
#include "job/notify.h"
#include "job/state.h"

namespace respaldo::cli {

const char* to_string(StepOutcome outcome);  // "done", "not due"
// One line out of the document of a command: "saved 1a2b3c4d: 12.0 GiB read, 1.1 GiB new, stored as 600.0
// MiB".
std::string summary_of(const std::string& command, const Json& result);
std::string step_text(const Step& step);              // one line
std::string outcome_text(const JobOutcome& outcome);  // all lines
Json outcome_json(const JobOutcome& outcome);
job::Message message_of(const JobOutcome& outcome);
std::string metrics_of(const JobOutcome& outcome, const job::State& state);

}  // namespace respaldo::cli
