// Running other programs. No shell, ever.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace respaldo::os {

struct CommandResult {
  int exit_code = 0;  // 128 + signal when a signal ended it
  std::string out, err;
};

struct CommandOptions {
  std::string input{};  // given on standard input
  // Past it the process group is killed: CommandTimeout, at most some seconds later.
  std::optional<std::chrono::milliseconds> limit{};
  // Not zero: past the limit, or when stopped, the program first gets SIGINT and this long to end by itself.
  // For programs that must not die in the middle of what they do, as lvm2 must not between suspending a
  // volume and resuming it. When it ends with 0 all the same, that is a success.
  std::chrono::milliseconds grace{0};
  std::vector<std::string> environment{};  // "NAME=value", besides and before our own
  std::size_t output_limit = 16U << 20;  // bytes of out and of err kept
};

// A program that took longer than it was given, and was killed; or could not be killed, since it waits for a
// device that does not answer, and was left behind. Kind io.
class CommandTimeout : public Error {
 public:
  using Error::Error;
};

// `own` and the rest of our environment, with LC_ALL=C; without the variables whose name `withheld` is true
// for.
std::vector<std::string> environment_with(std::vector<std::string> own,
                                          const std::function<bool(std::string_view name)>& withheld = {});

// Runs argv[0] (looked up in PATH) with LC_ALL=C and only descriptors 0..2 inherited. A program that is
// not there is Error(not_found), one that cannot be started Error(refused, io) with its error_number(); a
// non-zero exit is for the caller to judge. Returns when the program itself has ended and what it wrote has
// been read: a daemon that it left behind with our pipes is not waited for. Cancelled when `stop` ended it.
// Thread-safe.
CommandResult run_command(const std::vector<std::string>& argv, const CommandOptions& options = {},
                          std::stop_token stop = {});

}  // namespace respaldo::os
