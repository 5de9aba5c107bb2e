// Thaws for a program that cannot: it was killed, is stopped, or waits for too long.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "os/process.h"
#include "os/unique_fd.h"

namespace respaldo::job {

// A process of its own, in a session of its own, that runs the hook when we end without a word, however we do,
// or when the time is over. Ctrl-C, SIGTERM and what happens to our process group do not reach it, nor the
// hook that it runs. Not thread-safe.
class Watchdog {
 public:
  // `environment` is whole. `limit`: how long the hook may take.
  Watchdog(const std::vector<std::string>& hook, const std::vector<std::string>& environment,
           std::chrono::seconds limit);
  // Sends it away, unless it runs the hook.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // From now on there is so much time.
  void start(std::chrono::seconds time);
  // Ends the time. True: the hook is for the caller to run; should we end before this object does, it runs all
  // the same. False: it was run, or runs, since the time was over.
  bool stand_by();
  // After stand_by() was false: how the hook ended. CommandTimeout when it took longer than it may.
  os::CommandResult result();

 private:
  const std::chrono::seconds limit_;
  os::UniqueFd socket_;
  os::UniqueFd said_;  // a file: a hook that nobody listens to never waits
  pid_t pid_ = -1;     // until it has been waited for
};

}  // namespace respaldo::job
