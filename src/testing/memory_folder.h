// A temporary folder in memory, for tests that make many small files and look at none after a crash.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "os/file.h"

namespace respaldo::testing {

// Below /dev/shm where there is one, else below /tmp; removed with its contents when destroyed.
class MemoryFolder {
 public:
  MemoryFolder() {
    std::string pattern =
        ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/respaldo-XXXXXX" : "/tmp/respaldo-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw os::system_error(errno, "mkdtemp", pattern);
    path_ = pattern;
  }
  ~MemoryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  MemoryFolder(const MemoryFolder&) = delete;
  MemoryFolder& operator=(const MemoryFolder&) = delete;
  const os::Path& path() const { return path_; }

 private:
  os::Path path_;
};

}  // namespace respaldo::testing
