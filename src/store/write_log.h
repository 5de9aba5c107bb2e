// A store that remembers what was saved through it, so that it can be read back.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "store/backend.h"

namespace respaldo::store {

// Thread-safe.
class WriteLog {
 public:
  void add(const Handle& handle);
  // What was saved since the last call, in order; locks are left out.
  std::vector<Handle> take();

 private:
  std::mutex mutex_;
  std::vector<Handle> saved_;
};

std::unique_ptr<Backend> with_write_log(std::unique_ptr<Backend> backend, std::shared_ptr<WriteLog> log);

}  // namespace respaldo::store
