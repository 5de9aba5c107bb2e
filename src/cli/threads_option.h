// --threads, as several commands have it.
#pragma once

#include <CLI/CLI.hpp>

namespace respaldo::cli {

inline void add_threads_option(CLI::App& app, unsigned& threads) {
  app.add_option("--threads", threads, "worker threads; 0: one for each core")
      ->check(CLI::Range(0, 1024))  // the system makes hardly more
      ->capture_default_str();
}

}  // namespace respaldo::cli
