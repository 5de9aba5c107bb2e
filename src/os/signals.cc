#include "os/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "os/prompt.h"

namespace respaldo::os {

namespace {
std::atomic<int> received{0};
std::stop_source& source() {
  static auto* const stop = new std::stop_source;  // outlives main: the thread below never ends
  return *stop;
}
}  // namespace

void install_stop_signals(std::string_view last_words) {
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // `ulimit -f`: the write fails with EFBIG, and all is undone as after any failure
  ::signal(SIGCHLD, SIG_DFL);  // ignored by who started us, it would hide how programs ended
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  source();
  // A thread of its own takes the signals, so that requesting a stop may run any callback.
  std::thread([set, last_words] {
    for (;;) {
      int signal = 0;
      if (sigwait(&set, &signal) != 0) continue;
      if (received.exchange(signal) != 0 && signal == SIGINT) {
        end_secrecy();
        if (::write(STDERR_FILENO, last_words.data(), last_words.size()) < 0) {
          // Nobody is left to tell.
        }
        ::_exit(128 + SIGINT);
      }
      source().request_stop();
    }
  }).detach();
}

std::stop_token stop_signals() { return source().get_token(); }
int stop_signal_received() { return received.load(); }

}  // namespace respaldo::os
