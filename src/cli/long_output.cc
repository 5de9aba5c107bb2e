#include "cli/long_output.h"

#include <chrono>
#include <system_error>
#include <utility>

namespace respaldo::cli {

namespace {
constexpr std::size_t kMuch = 64U << 10;
constexpr std::chrono::milliseconds kLongestWait{100};
}  // namespace

LongOutput::LongOutput(app::Context& context) : context_(context) {
  if (context.world().out_is_terminal) return;
  try {
    writer_ = std::jthread([this] { write_what_waits(); });
    keeps_ = true;
  } catch (const std::system_error&) {
    // No room for a thread: nothing is kept.
  }
}

LongOutput::~LongOutput() {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
    try {
      flush_kept();
    } catch (const std::exception&) {
      // Another error is on its way, or nobody asked.
    }
  }
  changed_.notify_all();
}

void LongOutput::write(std::string_view text, std::string_view end) {
  std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  const bool first = kept_.empty();
  kept_ += text;
  kept_ += end;
  if (!keeps_ || kept_.size() >= kMuch)
    flush_kept();
  else if (first)
    changed_.notify_all();
}

void LongOutput::flush() {
  std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  flush_kept();
}

void LongOutput::flush_kept() {
  // What could not be written is not tried again.
  const std::string text = std::exchange(kept_, {});
  if (!text.empty()) context_.world().out(text);
}

void LongOutput::warn(std::string_view text) {
  try {
    flush();
  } catch (...) {
    context_.warn(text);
    throw;
  }
  context_.warn(text);
}

void LongOutput::write_what_waits() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ended_ || !kept_.empty(); });
    // What came meanwhile, and what was written meanwhile, does not prolong it.
    changed_.wait_for(lock, kLongestWait, [&] { return ended_; });
    if (ended_) return;
    try {
      flush_kept();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }
}

}  // namespace respaldo::cli
