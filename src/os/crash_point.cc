#include "os/crash_point.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <thread>

namespace respaldo::os {

namespace {

struct Wanted {
  const char* crash = std::getenv("RESPALDO_CRASH_AT");
  const char* hold = std::getenv("RESPALDO_HOLD_AT");
  const char* file = std::getenv("RESPALDO_HOLD_FILE");
  std::atomic<bool> held{false};
};

void hold(const char* file) {
  const int fd = ::open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  ::close(fd);
  while (::access(file, F_OK) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

}  // namespace

void crash_point(const char* name) {
  static Wanted wanted;
  if (wanted.crash != nullptr && std::string_view(wanted.crash) == name) {
    ::kill(::getpid(), SIGKILL);
    ::pause();
  }
  if (wanted.hold != nullptr && wanted.file != nullptr && std::string_view(wanted.hold) == name &&
      !wanted.held.exchange(true))
    hold(wanted.file);
}

}  // namespace respaldo::os
