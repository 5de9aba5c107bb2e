// Passwords that are not typed: out of files and of commands.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>

namespace respaldo::app {

// For a writer or a command that does not answer. Long enough for one that asks somebody.
inline constexpr std::chrono::milliseconds kPasswordPatience = std::chrono::minutes(2);

// Both without the white space around it, as in restic. Error(io) when it does not come in time, Cancelled
// when `stop` came first: nothing else ends a command that hangs, or a pipe that nobody writes to.
std::string password_from_file(const std::string& file, const std::stop_token& stop,
                               std::chrono::milliseconds patience = kPasswordPatience);
std::string password_from_command(const std::string& line, const std::stop_token& stop,
                                  std::chrono::milliseconds patience = kPasswordPatience);

}  // namespace respaldo::app
