// Signals as a stop request.
#pragma once

#include <stop_token>

namespace respaldo::os {

// Call once, first in main, before any thread. SIGINT and SIGTERM request a stop (a second SIGINT ends the
// process at once); SIGHUP and SIGPIPE are ignored (`restic unlock` sends SIGHUP to the owner of a lock).
void install_stop_signals();
// Stop requests of the signals above. Thread-safe.
std::stop_token stop_signals();
// The signal that asked to stop, or 0.
int stop_signal_received();

}  // namespace respaldo::os
