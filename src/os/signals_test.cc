#include "os/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace respaldo::os {
namespace {

using namespace std::chrono_literals;

// Each in a process of its own: signals are the process'.
[[noreturn]] void child(int first, int second, bool hang) {
  install_stop_signals("ended at once");
  ::raise(SIGPIPE);
  ::raise(SIGHUP);
  ::raise(SIGXFSZ);
  if (stop_signals().stop_requested() || stop_signal_received() != 0) ::_exit(90);
  ::kill(::getpid(), first);
  for (int i = 0; i < 500 && !stop_signals().stop_requested(); ++i) std::this_thread::sleep_for(10ms);
  if (!stop_signals().stop_requested()) ::_exit(91);
  if (second != 0) ::kill(::getpid(), second);
  if (hang) std::this_thread::sleep_for(20s);
  ::_exit(stop_signal_received());
}

class StopSignals : public ::testing::Test {
 protected:
  StopSignals() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(StopSignals, ctrl_c_asks_to_stop) {
  EXPECT_EXIT(child(SIGINT, 0, false), ::testing::ExitedWithCode(SIGINT), "");
}

TEST_F(StopSignals, so_does_sigterm) {
  EXPECT_EXIT(child(SIGTERM, 0, false), ::testing::ExitedWithCode(SIGTERM), "");
}

TEST_F(StopSignals, a_second_ctrl_c_ends_at_once) {
  EXPECT_EXIT(child(SIGINT, SIGINT, true), ::testing::ExitedWithCode(128 + SIGINT), "ended at once");
}

}  // namespace
}  // namespace respaldo::os
