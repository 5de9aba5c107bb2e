// Standard output of commands that print much: thousands of lines are one write.
#pragma once

#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "app/context.h"

namespace respaldo::cli {

// Keeps text until there is much of it, and a tenth of a second at most: a thread of its own writes it then,
// whatever the command waits for. On a terminal nothing is kept. Its functions are for one thread.
class LongOutput {
 public:
  // `context` outlives it.
  explicit LongOutput(app::Context& context);
  // Writes what is left, and swallows the error: who ends well calls flush().
  ~LongOutput();
  LongOutput(const LongOutput&) = delete;
  LongOutput& operator=(const LongOutput&) = delete;

  // Errors of World::out, of now or of what was kept: each is told once, and what could not be written is
  // gone.
  void write(std::string_view text) { write(text, ""); }
  void line(std::string_view text) { write(text, "\n"); }
  void flush();
  // On standard error, behind what was written before; even when nobody reads that.
  void warn(std::string_view text);

 private:
  void write(std::string_view text, std::string_view end);
  void flush_kept();
  void write_what_waits();

  app::Context& context_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string kept_;
  std::exception_ptr failure_;  // of the thread
  bool keeps_ = false, ended_ = false;
  std::jthread writer_;
};

}  // namespace respaldo::cli
