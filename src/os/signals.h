// Signals as a stop request.
#pragma once

#include <stop_token>
#include <string_view>

namespace respaldo::os {

// Call once, first in main, before any thread. SIGINT and SIGTERM request a stop (a second SIGINT ends the
// process at once); SIGHUP and SIGPIPE are ignored (`restic unlock` sends SIGHUP to the owner of a lock).
// `last_words` are said on standard error by the one that ends at once; they must outlive the process.
void install_stop_signals(std::string_view last_words = {});
// Stop requests of the signals above. Thread-safe.
std::stop_token stop_signals();
// The signal that asked to stop, or 0.
int stop_signal_received();

}  // namespace respaldo::os
