// Commands that go on in the background: the program runs itself again, and waits until that is ready.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "app/context.h"
#include "os/file.h"

namespace respaldo::cli {

// Runs this program with `words` (and "--ready-fd N", "-q", "--json") in a session of its own and waits until it calls
// detach(), or ends: then its exit code is the result. Says "`where_text` FOLDER", or gives {"mount_point",
// "pid"}.
app::ExitCode start_in_background(app::Context& context, std::vector<std::string> words,
                                  const std::string& folder, std::string_view where_text);

// The other side of it: from here on a terminal that closes takes nothing with it; what there is to say goes
// to `log`.
void detach(int ready_fd, const os::Path& log);

// In the private folder of activations: "activate-PID.log".
os::Path background_log(std::string_view command);
void remove_if_empty(const os::Path& log);

}  // namespace respaldo::cli
