#include "os/command_runner.h"

#include <unistd.h>

#include <cerrno>

namespace respaldo::os {

namespace {

class SystemCommands final : public CommandRunner {
 public:
  CommandResult run(const std::vector<std::string>& argv, const CommandOptions& options,
                    std::stop_token stop) override {
    try {
      return run_command(argv, options, stop);
    } catch (const Error& error) {
      // EACCES: a folder of $PATH may not be looked into, and nothing was found in the others.
      const bool absent = error.kind() == ErrorKind::not_found || error.error_number() == EACCES;
      if (!absent || argv[0].find('/') != std::string::npos) throw;
      for (const char* folder : {"/usr/sbin/", "/sbin/"}) {
        std::vector<std::string> there = argv;
        there[0] = folder + argv[0];
        if (::access(there[0].c_str(), X_OK) == 0) return run_command(there, options, stop);
      }
      throw;
    }
  }
};

}  // namespace

std::unique_ptr<CommandRunner> system_commands() { return std::make_unique<SystemCommands>(); }

}  // namespace respaldo::os
