// When this host last checked a repository, and how: kept in the state folder, for `doctor`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "os/file.h"

namespace respaldo::app {

struct CheckRecord {
  std::int64_t time = 0;  // seconds of 1970
  bool read_data = false, ok = false;
};

// STATE/checks/ID.json, replaced atomically. A state folder that cannot be written is no error: the check was
// made all the same. `repository_id` is the repository's own (64 hexadecimal digits).
void record_check(const os::Path& state, const std::string& repository_id, const CheckRecord& record);
// Absent when there is none, or it cannot be understood.
std::optional<CheckRecord> last_check(const os::Path& state, const std::string& repository_id);

}  // namespace respaldo::app
