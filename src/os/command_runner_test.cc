#include "os/command_runner.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "testing/replay_runner.h"

namespace respaldo::os {
namespace {

using namespace std::chrono_literals;

TEST(SystemCommands, programs_of_root_are_found_without_their_folder_in_path) {
  const std::string before = std::getenv("PATH");
  ::setenv("PATH", "/usr/bin", 1);
  EXPECT_EQ(system_commands()->run({"blkid", "-V"}).exit_code, 0);
  ::setenv("PATH", before.c_str(), 1);
  EXPECT_THROW(system_commands()->run({"no-such-program-here"}), Error);
}

TEST(RunCommand, past_the_limit_a_program_gets_the_chance_to_end_by_itself) {
  const auto result = run_command({"bash", "-c", "trap 'sleep 0.2; echo tidy; exit 0' INT; sleep 20 & wait"},
                                  {.limit = 200ms, .grace = 10s});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "tidy\n");
}

TEST(RunCommand, one_that_does_not_take_the_chance_is_killed) {
  EXPECT_THROW(run_command({"bash", "-c", "trap '' INT; sleep 20"}, {.limit = 100ms, .grace = 200ms}),
               CommandTimeout);
}

TEST(RunCommand, a_stop_is_as_gentle) {
  std::stop_source source;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(200ms);
    source.request_stop();
  });
  EXPECT_THROW(
      run_command({"bash", "-c", "trap 'exit 1' INT; sleep 20 & wait"}, {.grace = 10s}, source.get_token()),
      Cancelled);
}

TEST(ReplayRunner, answers_by_words_and_knows_no_others) {
  testing::ReplayRunner machine;
  machine.on({"lvs"}, {0, "all", ""});
  machine.on({"lvs", "vg0"}, {0, "vg0", ""});
  machine.once({"lvs"}, {5, "", "first"});
  EXPECT_EQ(machine.run({"lvs", "-a", "vg0"}).err, "first");
  EXPECT_EQ(machine.run({"lvs", "-a", "vg0"}).out, "vg0");
  EXPECT_EQ(machine.run({"lvs", "-a"}).out, "all");
  EXPECT_THROW(machine.run({"vgs"}), Error);
  EXPECT_EQ(machine.count({"lvs", "vg0"}), 2U);
}

}  // namespace
}  // namespace respaldo::os
