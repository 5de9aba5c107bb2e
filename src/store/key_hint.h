// Which key opened a store far away the last time, so that it can be loaded while the keys are being listed.
#pragma once

#include <string>
#include <string_view>

#include "os/file.h"

namespace respaldo::store {

// One small file in the cache's folder for each location; it holds the name of a key, which is no secret. Trouble
// with it is never an error: there is no hint then.
class KeyHint {
 public:
  KeyHint(const os::Path& cache_folder, std::string_view location);
  std::string read() const;  // 64 hex digits, or empty
  void write(const std::string& key) const;

 private:
  os::Path path_;
};

}  // namespace respaldo::store
