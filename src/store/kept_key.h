// The key that opened a store far away the last time, so that nobody waits for it.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "os/file.h"

namespace respaldo::store {

// A copy of the key file in the cache's folder for each location: the master key sealed with the password's, as
// everybody may read it who may read the repository (decision 0038). Trouble with it is never an error: there is
// none then.
class KeptKey {
 public:
  KeptKey(const os::Path& cache_folder, std::string_view location);
  std::string read() const;  // the file, or empty
  void write(ByteView file) const;

 private:
  os::Path path_;
};

}  // namespace respaldo::store
