// Running other programs. No shell, ever.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace respaldo::os {

struct CommandResult {
  int exit_code = 0;  // 128 + signal when a signal ended it
  std::string out, err;
};

struct CommandOptions {
  std::string input{};                             // given on standard input
  std::optional<std::chrono::milliseconds> limit{}; // past it the process group is killed: Error(command-like io)
  std::vector<std::string> environment{};           // "NAME=value", besides and before our own
  std::size_t output_limit = 16U << 20;            // bytes of out and of err kept
};

// Runs argv[0] (looked up in PATH) with LC_ALL=C and only descriptors 0..2 inherited. A program that cannot
// be started is Error(not_found); a non-zero exit is for the caller to judge. Returns when the program itself
// has ended and what it wrote has been read: a daemon that it left behind with our pipes is not waited for.
// Thread-safe.
CommandResult run_command(const std::vector<std::string>& argv, const CommandOptions& options = {},
                          std::stop_token stop = {});

}  // namespace respaldo::os
