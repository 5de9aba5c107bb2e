// Questions to whoever sits at standard input.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace respaldo::os {

// Asks on standard error, and takes one line of standard input, no byte more. A secret is not shown while it
// is typed. Absent at the end of the input. Cancelled when `stop` comes first. The terminal is as it was on
// every way out. One question at a time.
std::optional<std::string> ask(std::string_view question, bool secret, const std::stop_token& stop);

// Shows again what is typed, if a secret is being asked for: for whoever ends the process at once.
// Thread-safe.
void end_secrecy() noexcept;

}  // namespace respaldo::os
