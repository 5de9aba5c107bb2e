// Standard output of commands that print much: thousands of lines are one write.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "app/context.h"

namespace respaldo::cli {

// Keeps text for a moment: until there is much of it, or the oldest has waited a tenth of a second when more comes. On a
// terminal nothing waits. Not thread-safe.
class LongOutput {
 public:
  // `context` outlives it.
  explicit LongOutput(app::Context& context) : context_(context) {}
  // Writes what is left, and swallows the error: who ends well calls flush().
  ~LongOutput();
  LongOutput(const LongOutput&) = delete;
  LongOutput& operator=(const LongOutput&) = delete;

  // Errors of World::out, of now or of what was kept.
  void write(std::string_view text);
  void line(std::string_view text);
  void flush();
  // After what was written before.
  void warn(std::string_view text);

 private:
  void write_if_due();
  app::Context& context_;
  std::string kept_;
  std::chrono::steady_clock::time_point since_;  // of the oldest in kept_
};

}  // namespace respaldo::cli
