#include "cli/long_output.h"

#include <utility>

namespace respaldo::cli {

namespace {
constexpr std::size_t kMuch = 64U << 10;
constexpr std::chrono::milliseconds kLongest{100};
}  // namespace

LongOutput::~LongOutput() {
  try {
    flush();
  } catch (const std::exception&) {
    // Another error is on its way, or nobody asked.
  }
}

void LongOutput::write(std::string_view text) {
  if (kept_.empty()) since_ = std::chrono::steady_clock::now();
  kept_ += text;
  write_if_due();
}

void LongOutput::line(std::string_view text) {
  if (kept_.empty()) since_ = std::chrono::steady_clock::now();
  kept_ += text;
  kept_ += '\n';
  write_if_due();
}

void LongOutput::write_if_due() {
  if (kept_.size() >= kMuch || context_.world().out_is_terminal || std::chrono::steady_clock::now() - since_ >= kLongest) flush();
}

void LongOutput::flush() {
  // What could not be written is not tried again.
  const std::string text = std::exchange(kept_, {});
  if (!text.empty()) context_.world().out(text);
}

void LongOutput::warn(std::string_view text) {
  flush();
  context_.warn(text);
}

}  // namespace respaldo::cli
