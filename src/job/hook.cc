#include "job/hook.h"

#include <fmt/format.h>

#include <functional>

#include "base/printable.h"
#include "job/watchdog.h"
#include "os/process.h"
#include "os/thread_group.h"

namespace respaldo::job {

namespace {

// The last line of what a program complained of.
std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  const std::size_t newline = text.rfind('\n');
  if (newline != std::string::npos) text.erase(0, newline + 1);
  constexpr std::size_t kMost = 300;
  if (text.size() > kMost) text.resize(kMost);
  return printable(text);
}

std::vector<std::string> environment_of(const std::string& name, const Facts& facts) {
  std::vector<std::string> result = {"RESPALDO_HOOK=" + name};
  for (const auto& [fact, value] : facts) result.push_back(fmt::format("RESPALDO_{}={}", fact, value));
  return result;
}

// Runs it, whoever does, and throws when that was no success.
void judge(const std::string& name, const config::Argv& argv, const std::function<os::CommandResult()>& run) {
  const std::string hint = fmt::format("the hook is: {}", printable(fmt::format("{}", fmt::join(argv, " "))));
  os::CommandResult result;
  try {
    result = run();
  } catch (Error& error) {
    throw Error(ErrorKind::io, fmt::format("the {} hook: {}", name, error.what()), hint);
  }
  if (result.exit_code == 0) return;
  const std::string said = last_line(result.err.empty() ? result.out : result.err);
  throw Error(ErrorKind::io,
              fmt::format("the {} hook ended with exit code {}{}{}", name, result.exit_code,
                          said.empty() ? "" : ": ", said),
              hint);
}

constexpr const char* kThaw = "after-snapshot";

}  // namespace

void run_hook(const std::string& name, const config::Argv& argv, std::chrono::seconds deadline,
              const Facts& facts, std::stop_token stop, const std::string& input) {
  if (argv.empty()) return;
  os::CommandOptions options;
  options.input = input;
  options.limit = std::chrono::duration_cast<std::chrono::milliseconds>(deadline);
  options.environment = environment_of(name, facts);
  judge(name, argv, [&] { return os::run_command(argv, options, std::move(stop)); });
}

SnapshotFreeze::SnapshotFreeze(config::Hooks hooks, Facts facts, std::stop_token stop)
    : hooks_(std::move(hooks)), facts_(std::move(facts)), stop_(std::move(stop)) {}

SnapshotFreeze::~SnapshotFreeze() {
  if (!frozen_) return;
  try {
    after();
  } catch (const std::exception&) {
    // The run has failed already, and says why.
  }
}

void SnapshotFreeze::before() {
  if (!hooks_.after_snapshot.empty())
    watchdog_ = std::make_unique<Watchdog>(
        hooks_.after_snapshot, os::environment_with(environment_of(kThaw, facts_)), hooks_.deadline);
  frozen_ = true;
  run_hook("before-snapshot", hooks_.before_snapshot, hooks_.deadline, facts_, stop_);
  os::throw_if_stopped(stop_);  // a hook may end well all the same
  if (watchdog_) watchdog_->start(hooks_.thaw_after);
}

void SnapshotFreeze::after() {
  if (!frozen_) return;
  frozen_ = false;
  const auto watchdog = std::move(watchdog_);  // goes when what is frozen has thawed
  if (!watchdog || watchdog->stand_by()) {
    // Not to be interrupted: what is frozen must thaw.
    run_hook(kThaw, hooks_.after_snapshot, hooks_.deadline, facts_);
    return;
  }
  judge(kThaw, hooks_.after_snapshot, [&] { return watchdog->result(); });
  throw Error(
      ErrorKind::io,
      fmt::format(
          "the snapshot was not there {} s after the freeze; the after-snapshot hook was run, and the "
          "snapshot may be of a later moment",
          hooks_.thaw_after.count()),
      "see why taking the snapshot is slow, or allow more time (thaw-after)");
}

}  // namespace respaldo::job
