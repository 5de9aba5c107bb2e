// What is remembered between two runs of a job, and the lock that keeps two runs of it apart.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "os/file.h"

namespace respaldo::job {

// $RESPALDO_STATE, else /var/lib/respaldo; the jobs' files lie in jobs/ below it.
struct State {
  // Seconds since 1970; absent: never. Of prune and check: when the job began that did it.
  std::optional<std::int64_t> last_success, last_prune, last_check;
};

class StateFile {
 public:
  // Makes the folder. Error(refused) with what to do when it cannot be written.
  StateFile(const os::Path& state_folder, const std::string& job);

  // Error(busy) when another run of the job holds it. Held until destroyed.
  void lock();
  State load() const;  // what cannot be read counts as never
  void save(const State& state) const;

 private:
  const std::string job_;
  os::Path folder_;
  std::optional<os::FileLock> lock_;
};

}  // namespace respaldo::job
