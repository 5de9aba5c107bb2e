#include "job/hook.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/printable.h"
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

}  // namespace

void run_hook(const std::string& name, const config::Argv& argv, std::chrono::seconds deadline,
              const Facts& facts, std::stop_token stop, const std::string& input) {
  if (argv.empty()) return;
  const std::string hint = fmt::format("the hook is: {}", printable(fmt::format("{}", fmt::join(argv, " "))));
  os::CommandOptions options;
  options.input = input;
  options.limit = std::chrono::duration_cast<std::chrono::milliseconds>(deadline);
  options.environment.push_back("RESPALDO_HOOK=" + name);
  for (const auto& [fact, value] : facts)
    options.environment.push_back(fmt::format("RESPALDO_{}={}", fact, value));
  os::CommandResult result;
  try {
    result = os::run_command(argv, options, std::move(stop));
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

// Waits for the end of the freeze, or for its deadline.
struct SnapshotFreeze::Watch {
  std::mutex mutex;
  std::condition_variable_any changed;
  bool done = false, late = false;
  std::exception_ptr failure;  // of the hook that the watchdog ran
  std::jthread thread;
};

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
  frozen_ = true;
  run_hook("before-snapshot", hooks_.before_snapshot, hooks_.deadline, facts_, stop_);
  os::throw_if_stopped(stop_);  // a hook may end well all the same
  if (hooks_.after_snapshot.empty()) return;
  watch_ = std::make_unique<Watch>();
  watch_->thread = std::jthread([this, watch = watch_.get()] {
    {
      std::unique_lock lock(watch->mutex);
      if (watch->changed.wait_for(lock, hooks_.thaw_after, [&] { return watch->done; })) return;
      watch->late = true;
    }
    try {
      thaw();
    } catch (...) {
      watch->failure = std::current_exception();
    }
  });
}

// Not to be interrupted: what is frozen must thaw.
void SnapshotFreeze::thaw() { run_hook("after-snapshot", hooks_.after_snapshot, hooks_.deadline, facts_); }

void SnapshotFreeze::after() {
  if (!frozen_) return;
  frozen_ = false;
  if (!watch_) {
    thaw();  // before() failed half-way, or there is nothing to wait for
    return;
  }
  {
    const std::lock_guard lock(watch_->mutex);
    watch_->done = true;
  }
  watch_->changed.notify_all();
  watch_->thread.join();
  const auto watch = std::move(watch_);
  if (!watch->late) {
    thaw();
    return;
  }
  if (watch->failure) std::rethrow_exception(watch->failure);
  throw Error(
      ErrorKind::io,
      fmt::format(
          "the snapshot was not there {} s after the freeze; the after-snapshot hook was run, and the "
          "snapshot may be of a later moment",
          hooks_.thaw_after.count()),
      "see why taking the snapshot is slow, or allow more time (thaw-after)");
}

}  // namespace respaldo::job
