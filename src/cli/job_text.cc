#include "cli/job_text.h"

#include "base/units.h"
#include "job/metrics.h"
#include "repo/host.h"

namespace respaldo::cli {

namespace {

std::uint64_t number(const Json& json, const char* key) {
  const auto at = json.find(key);
  return at != json.end() && at->is_number_unsigned() ? at->get<std::uint64_t>() : 0;
}

std::string backup_summary(const Json& result) {
  std::uint64_t read = 0;
  if (const auto volumes = result.find("volumes"); volumes != result.end() && volumes->is_array())
    for (const Json& volume : *volumes) read += number(volume, "bytes_read");
  const std::string id = result.contains("backup") && result["backup"].is_string()
                             ? result["backup"].get<std::string>().substr(0, 8)
                             : "nothing";
  std::string missing;
  if (const auto list = result.find("missing"); list != result.end() && list->is_array())
    for (const Json& what : *list)
      if (what.is_string()) missing += what.get<std::string>() + "; ";
  return fmt::format("{}saved {}: {} of {} read, {} new, stored as {}", missing, id, format_size(read),
                     format_size(number(result, "total_bytes")), format_size(number(result, "new_bytes")),
                     format_size(number(result, "stored_bytes")));
}

std::size_t count(const Json& json, const char* key) {
  const auto at = json.find(key);
  if (at == json.end()) return 0;
  return at->is_array() ? at->size() : number(json, key);
}

// restic's form: a list of groups, each with what is kept and removed.
std::string forget_summary(const Json& result) {
  std::size_t kept = 0, removed = 0;
  const Json& groups = result.is_object() && result.contains("groups") ? result["groups"] : result;
  if (groups.is_array())
    for (const Json& group : groups) {
      kept += count(group, "keep");
      removed += count(group, "remove");
    }
  return fmt::format("{} kept, {} forgotten", counted(kept, "backup"), removed);
}

std::string check_summary(const Json& result) {
  return fmt::format("{}, {}, {}: no errors were found", counted(count(result, "backups"), "backup"),
                     counted(count(result, "packs"), "pack"), counted(count(result, "blobs"), "blob"));
}

// Ratios of the volumes' COW stores and pools, as far as the backup recorded them.
void add_ratios(const Json& backup, job::Metrics& metrics) {
  const auto volumes = backup.find("volumes");
  if (volumes == backup.end() || !volumes->is_array()) return;
  std::uint64_t read = 0;
  for (const Json& volume : *volumes) {
    if (!volume.is_object()) continue;
    read += number(volume, "bytes_read");
    const std::string name = volume.value("vg", "") + "/" + volume.value("lv", "");
    const auto add = [&](std::vector<std::pair<std::string, double>>& to, const char* used, const char* size) {
      if (const std::uint64_t whole = number(volume, size); whole > 0)
        to.emplace_back(name, static_cast<double>(number(volume, used)) / static_cast<double>(whole));
    };
    add(metrics.cow_peak, "cow_used", "cow_size");
    add(metrics.pool_data, "pool_used", "pool_size");
    add(metrics.pool_metadata, "pool_metadata_used", "pool_metadata_size");
  }
  metrics.bytes_read = read;
  metrics.bytes_new = number(backup, "new_bytes");
  metrics.bytes_stored = number(backup, "stored_bytes");
}

}  // namespace

const char* to_string(StepOutcome outcome) {
  switch (outcome) {
    case StepOutcome::done:
      return "done";
    case StepOutcome::incomplete:
      return "incomplete";
    case StepOutcome::failed:
      return "failed";
    case StepOutcome::skipped:
      return "skipped";
    case StepOutcome::planned:
      break;
  }
  return "planned";
}

std::string summary_of(const std::string& command, const Json& result) {
  if (command == "forget" && !result.is_null()) return forget_summary(result);
  if (!result.is_object()) return {};
  if (command == "backup") return backup_summary(result);
  if (command == "check" && result.value("ok", false)) return check_summary(result);
  if (command == "check")
    return fmt::format("{}; `respaldo check` lists them", counted(count(result, "findings"), "finding"));
  return {};
}

std::string step_text(const Step& step) {
  if (step.outcome == StepOutcome::planned) return step.message;
  std::string line = step.name + ": ";
  if (step.outcome == StepOutcome::failed) line += fmt::format("FAILED (exit code {}): ", step.exit_code);
  if (step.outcome == StepOutcome::incomplete) line += "INCOMPLETE: ";
  if (step.outcome == StepOutcome::skipped) line += "skipped: ";
  line += step.message.empty() ? std::string(to_string(step.outcome)) : step.message;
  if (step.seconds > 0) line += fmt::format(" ({})", format_duration(step.seconds));
  return line;
}

std::string outcome_text(const JobOutcome& outcome) {
  std::string text = fmt::format("job {} on {}: {}\n", outcome.job, repo::this_host(),
                                 outcome.exit_code == 0 ? "all went well" : "NOT all went well");
  if (!outcome.volumes.empty()) {
    text += "volumes:";
    for (const std::string& name : outcome.volumes) text += " " + printable(name);
    text += "\n";
  }
  for (const Step& step : outcome.steps) {
    text += step_text(step) + "\n";
    if (!step.hint.empty()) text += "  " + step.hint + "\n";
    for (const std::string& warning : step.warnings) text += "  warning: " + warning + "\n";
  }
  text += fmt::format("from {} to {}, exit code {}\n", local_time({outcome.started, 0}),
                      local_time({outcome.ended, 0}), outcome.exit_code);
  return text;
}

Json outcome_json(const JobOutcome& outcome) {
  Json json = {{"job", outcome.job},         {"host", repo::this_host()},  {"started", outcome.started},
               {"ended", outcome.ended},     {"seconds", outcome.seconds}, {"exit_code", outcome.exit_code},
               {"volumes", outcome.volumes}, {"steps", Json::array()}};
  for (const Step& step : outcome.steps)
    json["steps"].push_back({{"step", step.name},
                             {"outcome", to_string(step.outcome)},
                             {"exit_code", step.exit_code},
                             {"seconds", step.seconds},
                             {"message", step.message},
                             {"hint", step.hint},
                             {"warnings", step.warnings},
                             {"result", step.result}});
  return json;
}

job::Message message_of(const JobOutcome& outcome) {
  const Step* trouble = outcome.trouble();
  job::Message message;
  message.subject = fmt::format("respaldo: job {} on {} ", outcome.job, repo::this_host());
  if (trouble == nullptr)
    message.subject += "went well";
  else if (trouble->outcome == StepOutcome::incomplete)
    message.subject += "is INCOMPLETE";
  else
    message.subject += fmt::format("FAILED: {}", trouble->name);
  message.text = outcome_text(outcome);
  return message;
}

std::string metrics_of(const JobOutcome& outcome, const job::State& state) {
  job::Metrics metrics;
  metrics.job = outcome.job;
  metrics.version = app::kVersion;
  metrics.run_time = outcome.ended;
  metrics.seconds = outcome.seconds;
  metrics.exit_code = outcome.exit_code;
  metrics.state = state;
  for (const Step& step : outcome.steps)
    if (step.name == "backup" && step.result.is_object()) add_ratios(step.result, metrics);
  return job::metrics_text(metrics);
}

}  // namespace respaldo::cli
