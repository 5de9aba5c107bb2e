#include "cli/job_run.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <functional>
#include <mutex>
#include <thread>

#include "base/units.h"
#include "cli/job_text.h"
#include "job/hook.h"
#include "job/metrics.h"
#include "job/notify.h"
#include "job/state.h"
#include "repo/host.h"
#include "repo/lock.h"
#include "store/open.h"

namespace respaldo::cli {

namespace {

using Clock = std::chrono::steady_clock;

std::int64_t now() { return std::time(nullptr); }

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A stop request: of the user, or when the job has had its time.
class Deadline {
 public:
  Deadline(std::stop_token outer, const std::optional<std::chrono::seconds>& limit)
      : outer_(std::move(outer), [this] { source_.request_stop(); }) {
    if (!limit) return;
    thread_ = std::jthread([this, most = *limit](const std::stop_token& over) {
      std::unique_lock lock(mutex_);
      if (!changed_.wait_for(lock, over, most, [] { return false; }) && !over.stop_requested()) {
        passed_ = true;
        source_.request_stop();
      }
    });
  }
  std::stop_token token() const { return source_.get_token(); }
  bool passed() const { return passed_; }

 private:
  std::stop_source source_;
  std::stop_callback<std::function<void()>> outer_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::atomic<bool> passed_{false};
  std::jthread thread_;
};

// For this thread, and those that it starts from now on.
void be_gentle(const config::Limits& limits) {
  if (limits.nice) ::setpriority(PRIO_PROCESS, 0, *limits.nice);
  constexpr int kWhoProcess = 1, kClassShift = 13, kBestEffort = 2, kIdle = 3, kLowest = 7;
  if (limits.io_priority == "idle") ::syscall(SYS_ioprio_set, kWhoProcess, 0, kIdle << kClassShift);
  if (limits.io_priority == "best-effort")
    ::syscall(SYS_ioprio_set, kWhoProcess, 0, (kBestEffort << kClassShift) | kLowest);
}

// -r, password and common options of the job's repository.
std::vector<std::string> repository_words(const config::Config& config, const config::Job& job) {
  const config::Repository& repository = config.repository_of(job);
  std::vector<std::string> words = {"--repo=" + repository.location};
  if (!repository.password_file.empty()) words.push_back("--password-file=" + repository.password_file);
  if (!repository.password_command.empty())
    words.push_back("--password-command=" + quoted_line(repository.password_command));
  words.insert(words.end(), repository.options.begin(), repository.options.end());
  return words;
}

void append(std::vector<std::string>& words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
}

// How long a job waits for others' work on its repository: two nights of one repository must not end each other.
constexpr std::chrono::seconds kPatience = std::chrono::hours(2);

bool is_given(const std::vector<std::string>& options, std::string_view name) {
  return std::ranges::any_of(options, [&](const std::string& word) { return word.starts_with(name); });
}

// The host name as backup records it: an option of the job, else this machine's.
std::string host_of(const config::Job& job) {
  std::string host = repo::this_host();
  for (const std::string& word : job.backup)
    if (word.starts_with("--host=")) host = word.substr(7);
  return host;
}

// `last` and `at` are starts of jobs. A timer is not on the minute, and may delay its jobs at random: what is to be done
// every day is due a little before the day is over.
bool is_due(const std::optional<std::chrono::seconds>& every, const std::optional<std::int64_t>& last,
            std::int64_t at) {
  if (!every) return false;
  constexpr std::int64_t kMostSlack = 3 * 3600;
  const std::int64_t slack = std::min(kMostSlack, every->count() / 4);
  // A clock that was set back must not put it off for ever.
  return !last || *last > at || at - *last >= every->count() - slack;
}

constexpr const char* kState = "the job's state";

class Runner {
 public:
  Runner(app::Context& context, const config::Config& config, const config::Job& job)
      : context_(context), config_(config), job_(job) {}

  JobOutcome run() {
    outcome_.job = job_.name;
    outcome_.started = now();
    if (open_state()) {
      be_gentle(job_.limits);
      Deadline deadline(context_.stop(), job_.limits.deadline);
      deadline_ = &deadline;
      careful("the job", [&] { steps(); });  // whatever happens, somebody is told
      deadline_ = nullptr;
    }
    finish();
    return std::move(outcome_);
  }

  JobOutcome plan() {
    state_ = job::StateFile(state_folder(context_), job_.name).load();
    outcome_.job = job_.name;
    outcome_.started = outcome_.ended = now();
    outcome_.volumes = volumes();
    const config::Config shown = without_secrets(config_);
    planned("backup", patiently(backup_words(shown, job_, outcome_.volumes)));
    if (!job_.keep.empty()) planned("forget", patiently(forget_words(shown, job_)));
    if (prune_due()) planned("prune", patiently(care_words(shown, job_, "prune")));
    if (check_due()) planned("check", patiently(care_words(shown, job_, "check")));
    return std::move(outcome_);
  }

 private:
  // Error(busy) when another run of the job is at work. What else is wrong there is told as the rest is, and
  // false.
  bool open_state() {
    try {
      file_.emplace(state_folder(context_), job_.name);
      file_->lock();
      state_ = file_->load();
      earlier_success_ = state_.last_success;
      return true;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::busy) throw;
      add({kState, StepOutcome::failed, 1, 0, error.what(), error.hint(), {}, {}});
      return false;
    }
  }

  // A failed backup ends the job: nothing old is removed when nothing new is there.
  void steps() {
    clear_dead_locks(Which::exclusive);  // others do not keep a backup from its work
    const bool whole = backup();
    // Also beside ranges that could not be read.
    const bool complete = step("backup").outcome == StepOutcome::failed || none_vanished();
    const bool care = step("backup").outcome != StepOutcome::failed &&
                      ((whole && complete && !job_.keep.empty()) || check_due());
    if (care && !stopped()) clear_dead_locks(Which::all);
    if (whole && complete && !job_.keep.empty())
      command("forget", forget_words(config_, job_));
    else if (!job_.keep.empty())
      skip("forget", whole ? "nothing is forgotten while a volume may be missing"
                           : "nothing is forgotten after a backup that is not whole");
    if (whole && complete && prune_due()) {
      if (command("prune", care_words(config_, job_, "prune"))) state_.last_prune = outcome_.started;
    }
    if (check_due()) {
      if (step("backup").outcome == StepOutcome::failed && step("backup").exit_code == 10)
        skip("check", "there is no repository");
      else if (command("check", care_words(config_, job_, "check")))
        state_.last_check = outcome_.started;
    }
  }

  enum class Which { exclusive, all };
  // A night that was cut short must not keep the next ones from their work, nor let them wait. True when a lock was
  // removed.
  bool clear_dead_locks(Which which) {
    std::vector<std::string> words = repository_words(config_, job_);
    words.insert(words.end(), {"unlock", "--watch"});
    if (job_.limits.deadline && *job_.limits.deadline - (Clock::now() - begun_) < 2 * repo::kLockWatch)
      words.emplace_back("--sure");
    if (which == Which::exclusive) words.emplace_back("--exclusive");
    const NestedResult result = run_nested(context_, words, deadline_->token());
    if (result.code != 0 && which == Which::all && !stopped()) {
      const std::string text = fmt::format("locks that look stale are not removed: {}", result.message);
      context_.warn(text);
      if (!outcome_.steps.empty()) outcome_.steps.back().warnings.push_back(text);
    }
    return result.code == 0 && result.result.value("removed", 0) > 0;
  }

  bool prune_due() const {
    // Where nothing is forgotten, nothing is left to prune.
    return !job_.keep.empty() && is_due(job_.prune_every, state_.last_prune, outcome_.started);
  }
  bool check_due() const { return is_due(job_.check_every, state_.last_check, outcome_.started); }

  // With the time that others may take, unless the configuration says it. A tenth of what the job has left is kept back,
  // to tell who holds the lock.
  std::vector<std::string> patiently(std::vector<std::string> words) const {
    if (is_given(config_.repository_of(job_).options, "--retry-lock=")) return words;
    std::chrono::seconds patience = kPatience;
    if (job_.limits.deadline) {
      const auto passed = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - begun_);
      patience = std::clamp((*job_.limits.deadline - passed) * 9 / 10, std::chrono::seconds(0), patience);
    }
    words.insert(words.begin(), fmt::format("--retry-lock={}", patience.count()));
    return words;
  }

  bool stopped() const { return deadline_->token().stop_requested(); }
  const Step& step(const std::string& name) const {
    return *std::ranges::find(outcome_.steps, name, &Step::name);
  }

  // The volumes that are there, without snapshots unless one is named.
  std::vector<std::string> volumes() {
    app::CommonOptions options = context_.options();
    options.disks = job_.disks;
    app::Context nested(context_.world(), options);
    std::vector<std::string> names;
    for (const engine::VolumeInfo& info : nested.engine().list()) {
      const std::string name = info.name.str();
      const bool named = std::ranges::find(job_.volumes, name) != job_.volumes.end();
      if (named || (!info.origin && !info.set_aside && info.kind != "thin-pool" && info.kind != "cache-pool"))
        names.push_back(name);
    }
    return config::select_volumes(job_, names);
  }

  bool backup() {
    const auto start = Clock::now();
    try {
      outcome_.volumes = volumes();
    } catch (const Error& error) {
      Step failed{"backup",
                  StepOutcome::failed,
                  static_cast<int>(app::exit_code_for(error)),
                  since(start),
                  error.what(),
                  error.hint(),
                  {},
                  {}};
      add(std::move(failed));
      return false;
    }
    return command("backup", backup_words(config_, job_, outcome_.volumes));
  }

  // A pattern that still fits something does not tell that a volume vanished: the job's backups do, all of
  // them, so that it is told until the user says what became of it. Retention would take the last backup of
  // it one day.
  bool none_vanished() {
    if (stopped()) return true;  // what follows is skipped for that
    warn_of_returned();
    std::vector<std::string> words = repository_words(config_, job_);
    append(words, {"list", "--host=" + host_of(job_), "--tag=" + job_tag(job_)});
    const auto start = Clock::now();
    NestedResult listed = run_nested(context_, words, deadline_->token());
    const auto vanished = config::vanished_volumes(job_, volumes_of(listed.result), outcome_.volumes);
    if (listed.code != 0) {
      listed.result = {};
      if (listed.code == static_cast<int>(app::ExitCode::damaged)) {
        listed.message =
            "backups of the repository cannot be read: nobody can tell whether a volume is missing";
        listed.hint = "`respaldo check` tells what is lost, `respaldo repair snapshots --forget` removes it";
      }
      add(step_of("volumes", std::move(listed), since(start)));
    }
    if (!vanished.empty()) add(vanished_step(vanished));
    return listed.code == 0 && vanished.empty();
  }

  // What was confirmed would not be told when it vanishes again.
  void warn_of_returned() {
    for (const std::string& name : outcome_.volumes) {
      if (std::ranges::find(job_.former_volumes, name) == job_.former_volumes.end()) continue;
      const std::string text =
          fmt::format("{} is there again, and saved: take it out of `former-volumes` of the job {}",
                      printable(name), job_.name);
      context_.warn(text);
      outcome_.steps.back().warnings.push_back(text);
    }
  }

  static std::vector<std::string> volumes_of(const Json& backups) {
    std::vector<std::string> names;
    for (const Json& backup : backups) {
      for (const Json& path : backup.value("paths", Json::array())) {
        try {
          names.push_back(engine::VolumeName::parse(path.get<std::string>()).str());
        } catch (const Error&) {
          // No volume's path: another program gave a backup the job's tag.
        }
      }
    }
    return names;
  }

  Step vanished_step(const std::vector<std::string>& vanished) const {
    std::vector<std::string> former = job_.former_volumes;
    former.insert(former.end(), vanished.begin(), vanished.end());
    Json list = former;
    Step step;
    step.name = "volumes";
    step.outcome = StepOutcome::incomplete;
    step.exit_code = static_cast<int>(app::ExitCode::incomplete);
    step.message = fmt::format(
        "earlier backups of the job hold {}, which its `volumes` do not find any more; the others are saved",
        printable(fmt::format("{}", fmt::join(vanished, ", "))));
    step.hint = fmt::format(
        "bring back what is missing; when it is gone for good, [jobs.{}] of {} needs the line: "
        "former-volumes = {}",
        job_.name, config_.file, printable(dump(list)));
    return step;
  }

  // True when it is done, and wholly.
  bool command(const std::string& name, const std::vector<std::string>& words) {
    if (stopped()) {
      const std::string why = deadline_->passed() ? "the job has had its time" : "interrupted";
      if (outcome_.trouble() != nullptr)
        skip(name, why);
      else  // nobody else tells that something was left out
        add({name, StepOutcome::failed,
             static_cast<int>(deadline_->passed() ? app::ExitCode::failed : app::ExitCode::interrupted), 0,
             "not begun: " + why, {}, {}, {}});
      return false;
    }
    const auto start = Clock::now();
    NestedResult result = run_nested(context_, patiently(words), deadline_->token());
    if (result.code == static_cast<int>(app::ExitCode::locked) && !std::exchange(locks_cleared_, true) && clear_dead_locks(Which::all))
      result = run_nested(context_, patiently(words), deadline_->token());
    add(step_of(name, std::move(result), since(start)));
    return outcome_.steps.back().outcome == StepOutcome::done;
  }

  Step step_of(const std::string& name, NestedResult result, double seconds) const {
    Step step;
    step.name = name;
    step.exit_code = result.code;
    step.seconds = seconds;
    step.warnings = std::move(result.warnings);
    step.result = std::move(result.result);
    step.outcome = result.code == 0 ? StepOutcome::done
                   : result.code == static_cast<int>(app::ExitCode::incomplete) && name == "backup"
                       ? StepOutcome::incomplete
                       : StepOutcome::failed;
    step.hint = result.hint;
    step.message = result.message.empty() ? summary_of(name, step.result) : result.message;
    if (result.code == static_cast<int>(app::ExitCode::interrupted) && deadline_->passed()) {
      step.exit_code = static_cast<int>(app::ExitCode::failed);
      step.message = fmt::format("stopped: the job may take {} (limits.deadline)",
                                 format_duration(static_cast<double>(job_.limits.deadline->count())));
    }
    return step;
  }

  void skip(const std::string& name, const std::string& why) {
    add({name, StepOutcome::skipped, 0, 0, why, {}, {}, {}});
  }
  void planned(const std::string& name, const std::vector<std::string>& words) {
    std::string line = "respaldo";
    for (const std::string& word : words)
      line += " " + (word.find_first_of(" '\"\\$*?;&|<>()") == std::string::npos ? word : quoted_word(word));
    add({name, StepOutcome::planned, 0, 0, line, {}, {}, {}});
  }
  void add(Step step) {
    if (step.outcome != StepOutcome::planned) tell(step);
    outcome_.steps.push_back(std::move(step));
  }

  // As it happens; with --json as an event.
  void tell(const Step& step) {
    const bool bad = step.outcome == StepOutcome::failed || step.outcome == StepOutcome::incomplete;
    if (context_.options().json) {
      context_.progress().note(step_text(step));
    } else if (bad) {
      context_.world().err(fmt::format("respaldo: {}\n", step_text(step)));
      if (!step.hint.empty()) context_.world().err(fmt::format("hint: {}\n", step.hint));
    } else if (context_.options().verbosity > 0) {
      context_.print(step_text(step));
    }
  }

  // Everything after the last step; whatever fails here is told, and the rest is done.
  void finish() {
    decide_exit_code();
    if (outcome_.exit_code == 0)
      hook("success hook", "success", job_.hooks.success);
    else
      hook("failure hook", "failure", job_.hooks.failure);
    outcome_.ended = now();
    outcome_.seconds = since(begun_);  // whatever is done to the clock meanwhile
    record();
    if (job_.notify.wanted() && (outcome_.exit_code != 0 || job_.notify.always)) {
      careful("the message", [&] { job::notify(job_.notify, message_of(outcome_), facts()); });
      record();
    }
  }

  // Metrics, state and report say how the job ended. One that cannot be written is part of that: the others
  // are written again.
  void record() {
    while (recorded_ != outcome_.steps.size()) {
      recorded_ = outcome_.steps.size();
      decide_exit_code();
      if (!job_.metrics.empty())
        once("the metrics", [&] { write(job_.metrics, metrics_of(outcome_, state_)); });
      if (file_) once(kState, [&] { file_->save(state_); });
      if (!job_.report.empty())
        once("the report", [&] { write(job_.report, dump(outcome_json(outcome_)) + "\n"); });
    }
  }

  // Unless it has failed before.
  void once(const std::string& what, const std::function<void()>& body) {
    if (std::ranges::find(outcome_.steps, what, &Step::name) != outcome_.steps.end()) return;
    careful(what, body);
    decide_exit_code();
  }

  void decide_exit_code() {
    const Step* trouble = outcome_.trouble();
    outcome_.exit_code = trouble == nullptr ? 0 : trouble->exit_code;
    state_.last_success = trouble == nullptr ? outcome_.ended : earlier_success_;
  }

  job::Facts facts() const {
    job::Facts facts = {{"JOB", job_.name},
                        {"REPOSITORY", store::display_location(config_.repository_of(job_).location)},
                        {"EXIT_CODE", std::to_string(outcome_.exit_code)}};
    std::string volumes;
    for (const std::string& name : outcome_.volumes) volumes += (volumes.empty() ? "" : " ") + name;
    facts.emplace_back("VOLUMES", volumes);
    if (const Step* trouble = outcome_.trouble()) {
      facts.emplace_back("STEP", trouble->name);
      facts.emplace_back("ERROR", trouble->message);
    }
    for (const Step& step : outcome_.steps)
      if (step.name == "backup" && step.result.is_object() && step.result.contains("backup") &&
          step.result["backup"].is_string())
        facts.emplace_back("BACKUP", step.result["backup"].get<std::string>());
    return facts;
  }

  void hook(const std::string& step, const std::string& name, const config::Argv& argv) {
    if (argv.empty()) return;
    careful(step, [&] { job::run_hook(name, argv, job_.hooks.deadline, facts()); });
  }

  void careful(const std::string& what, const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& error) {
      add({what, StepOutcome::failed, 1, 0, error.what(), error.hint(), {}, {}});
    } catch (const std::exception& error) {
      add({what, StepOutcome::failed, 1, 0, error.what(), {}, {}, {}});
    }
  }

  static void write(const std::string& path, const std::string& text) {
    os::AtomicFile file(path, 0644);
    file.write(as_bytes(text));
    file.commit();
  }

  app::Context& context_;
  const config::Config& config_;
  const config::Job& job_;
  std::optional<job::StateFile> file_;
  job::State state_;
  std::optional<std::int64_t> earlier_success_;
  JobOutcome outcome_;
  std::optional<std::size_t> recorded_;  // how many steps metrics, state and report know of
  const Clock::time_point begun_ = Clock::now();
  Deadline* deadline_ = nullptr;
  bool locks_cleared_ = false;
};

}  // namespace

const Step* JobOutcome::trouble() const {
  const auto bad = [](const Step& step) {
    return step.outcome == StepOutcome::failed || step.outcome == StepOutcome::incomplete;
  };
  const auto at = std::ranges::find_if(steps, bad);
  return at == steps.end() ? nullptr : &*at;
}

std::string job_tag(const config::Job& job) { return "job:" + job.name; }

std::vector<std::string> backup_words(const config::Config& config, const config::Job& job,
                                      const std::vector<std::string>& volumes) {
  std::vector<std::string> words = repository_words(config, job);
  for (const std::string& disk : job.disks) words.push_back("--disk=" + disk);
  words.emplace_back("backup");
  append(words, volumes);
  words.push_back("--tag=" + job_tag(job));
  for (const std::string& tag : job.tags) words.push_back("--tag=" + tag);
  append(words, job.backup);
  const auto hook = [&](const char* option, const config::Argv& argv) {
    if (!argv.empty()) words.push_back(option + quoted_line(argv));
  };
  hook("--hook-before=", job.hooks.before_snapshot);
  hook("--hook-after=", job.hooks.after_snapshot);
  if (!job.hooks.before_snapshot.empty() || !job.hooks.after_snapshot.empty()) {
    words.push_back(fmt::format("--hook-deadline={}s", job.hooks.deadline.count()));
    words.push_back(fmt::format("--hook-thaw-after={}s", job.hooks.thaw_after.count()));
  }
  return words;
}

std::vector<std::string> forget_words(const config::Config& config, const config::Job& job) {
  std::vector<std::string> words = repository_words(config, job);
  words.emplace_back("forget");
  append(words, {"--host=" + host_of(job), "--tag=" + job_tag(job), "--group-by=host"});
  append(words, job.keep);
  return words;
}

std::vector<std::string> care_words(const config::Config& config, const config::Job& job,
                                    const std::string& command) {
  std::vector<std::string> words = repository_words(config, job);
  words.push_back(command);
  append(words, command == "prune" ? job.prune : job.check);
  return words;
}

JobOutcome run_job(app::Context& context, const config::Config& config, const config::Job& job,
                   bool dry_run) {
  Runner runner(context, config, job);
  return dry_run ? runner.plan() : runner.run();
}

}  // namespace respaldo::cli
