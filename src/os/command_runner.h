// The one door to external programs: whoever runs one takes a CommandRunner, so that a recorded machine can
// stand behind it in tests (testing/replay_runner.h).
#pragma once

#include <memory>

#include "os/process.h"

namespace respaldo::os {

// Thread-safe.
class CommandRunner {
 public:
  virtual ~CommandRunner() = default;
  // As run_command().
  virtual CommandResult run(const std::vector<std::string>& argv, const CommandOptions& options = {},
                            std::stop_token stop = {}) = 0;
};

// The machine itself. A program that $PATH does not find is looked for in /usr/sbin and /sbin, too: `su`
// leaves these out.
std::unique_ptr<CommandRunner> system_commands();

}  // namespace respaldo::os
