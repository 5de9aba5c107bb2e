#include "job/hook.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "os/file.h"
#include "testing/errors.h"

namespace respaldo::job {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

using testing::message_of;

// Hooks that write lines into a file.
class Hooks : public ::testing::Test {
 protected:
  config::Argv say(const std::string& word) const {
    return {"sh", "-c", "echo \"$1 $RESPALDO_HOOK $RESPALDO_VOLUMES\" >>\"$2\"", "sh", word, log()};
  }
  std::string log() const { return (folder_.path() / "log").native(); }
  std::string logged() const { return os::try_read_text(log()).value_or(""); }
  config::Hooks both() const {
    config::Hooks hooks;
    hooks.before_snapshot = say("freeze");
    hooks.after_snapshot = say("thaw");
    hooks.deadline = seconds(20);
    return hooks;
  }
  bool thaws() const {
    for (int i = 0; i < 200 && logged().find("thaw") == std::string::npos; ++i)
      std::this_thread::sleep_for(milliseconds(100));
    return logged().find("thaw after-snapshot vg0/root vg0/home\n") != std::string::npos;
  }
  // A process that has frozen, and sleeps.
  pid_t freezer(const config::Hooks& hooks) const {
    const pid_t pid = ::fork();
    if (pid == 0) {
      SnapshotFreeze freeze(hooks, facts_, {});
      freeze.before();
      std::ofstream(folder_.path() / "frozen");
      ::sleep(60);
      ::_exit(0);
    }
    for (int i = 0; i < 200 && !std::filesystem::exists(folder_.path() / "frozen"); ++i)
      std::this_thread::sleep_for(milliseconds(50));
    return pid;
  }
  os::TemporaryFolder folder_;
  const Facts facts_ = {{"VOLUMES", "vg0/root vg0/home"}};
};

TEST_F(Hooks, run_without_a_shell_and_know_the_facts) {
  run_hook("success", say("it is $HOME;"), seconds(20), facts_);
  EXPECT_EQ(logged(), "it is $HOME; success vg0/root vg0/home\n");
  run_hook("success", {}, seconds(20), facts_);
}

TEST_F(Hooks, a_failure_is_told_with_what_the_hook_said) {
  const std::string told = message_of([&] {
    run_hook("failure", {"sh", "-c", "echo first; echo no such table >&2; exit 7"}, seconds(20), {});
  });
  EXPECT_EQ(told, "the failure hook ended with exit code 7: no such table");
  EXPECT_THAT(message_of([&] { run_hook("failure", {"/nonexistent/hook"}, seconds(20), {}); }),
              HasSubstr("cannot run"));
}

TEST_F(Hooks, a_slow_hook_is_killed) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(message_of([&] {
                run_hook("failure", {"sleep", "60"}, seconds(1), {});
              }),
              HasSubstr("did not finish"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(30));
}

TEST_F(Hooks, freeze_and_thaw_in_order) {
  SnapshotFreeze freeze(both(), facts_, {});
  freeze.before();
  EXPECT_EQ(logged(), "freeze before-snapshot vg0/root vg0/home\n");
  freeze.after();
  EXPECT_EQ(logged(), "freeze before-snapshot vg0/root vg0/home\nthaw after-snapshot vg0/root vg0/home\n");
  freeze.after();  // once
  EXPECT_THAT(logged(), HasSubstr("thaw"));
}

TEST_F(Hooks, what_was_frozen_thaws_when_nobody_says_so) {
  { SnapshotFreeze(both(), facts_, {}).before(); }
  EXPECT_THAT(logged(), HasSubstr("thaw"));
}

TEST_F(Hooks, a_failed_freeze_is_thawed) {
  config::Hooks hooks = both();
  hooks.before_snapshot = {"false"};
  SnapshotFreeze freeze(hooks, facts_, {});
  EXPECT_THAT(message_of([&] { freeze.before(); }), HasSubstr("before-snapshot hook ended with exit code 1"));
  freeze.after();
  EXPECT_THAT(logged(), HasSubstr("thaw"));
}

TEST_F(Hooks, the_watchdog_thaws_in_time_and_the_snapshot_does_not_count) {
  config::Hooks hooks = both();
  hooks.thaw_after = seconds(1);
  SnapshotFreeze freeze(hooks, facts_, {});
  freeze.before();
  for (int i = 0; i < 200 && logged().find("thaw") == std::string::npos; ++i)
    std::this_thread::sleep_for(milliseconds(100));
  EXPECT_THAT(logged(), HasSubstr("thaw"));
  EXPECT_THAT(message_of([&] { freeze.after(); }), HasSubstr("was not there 1 s after the freeze"));
  const std::string all = logged();
  EXPECT_EQ(all.find("thaw"), all.rfind("thaw")) << "thawed twice";
}

TEST_F(Hooks, what_was_frozen_thaws_when_we_are_killed) {
  const pid_t pid = freezer(both());
  EXPECT_THAT(logged(), ::testing::Not(HasSubstr("thaw")));
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  EXPECT_TRUE(thaws()) << logged();
}

TEST_F(Hooks, what_was_frozen_thaws_in_time_when_we_are_stopped) {
  config::Hooks hooks = both();
  hooks.thaw_after = seconds(2);
  const pid_t pid = freezer(hooks);
  ::kill(pid, SIGSTOP);
  EXPECT_TRUE(thaws()) << logged();
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

TEST_F(Hooks, what_is_being_thawed_thaws_when_we_are_killed) {
  config::Hooks hooks = both();
  hooks.after_snapshot = {"sh",
                          "-c",
                          "if mkdir \"$1\"; then kill -9 $PPID; fi; echo thaw >>\"$2\"",
                          "sh",
                          (folder_.path() / "first").native(),
                          log()};
  const pid_t pid = ::fork();
  if (pid == 0) {
    SnapshotFreeze freeze(hooks, facts_, {});
    freeze.before();
    freeze.after();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  for (int i = 0; i < 200 && !logged().ends_with("thaw\nthaw\n"); ++i)
    std::this_thread::sleep_for(milliseconds(50));
  EXPECT_THAT(logged(), HasSubstr("thaw\nthaw\n")) << "the first may have died with us";
}

TEST_F(Hooks, the_watchdog_holds_nothing_of_ours_and_leaves_nothing_behind) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  SnapshotFreeze freeze(both(), facts_, {});
  freeze.before();
  ::close(ends[1]);
  char byte = 0;
  EXPECT_EQ(::read(ends[0], &byte, 1), 0);
  ::close(ends[0]);
  freeze.after();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no child is left";
}

TEST_F(Hooks, a_late_thaw_that_fails_is_told) {
  config::Hooks hooks = both();
  hooks.thaw_after = seconds(1);
  hooks.after_snapshot = {"sh", "-c", "echo thaw >>\"$1\"; echo no server >&2; exit 3", "sh", log()};
  SnapshotFreeze freeze(hooks, facts_, {});
  freeze.before();
  for (int i = 0; i < 200 && logged().find("thaw") == std::string::npos; ++i)
    std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(message_of([&] { freeze.after(); }), "the after-snapshot hook ended with exit code 3: no server");
}

TEST_F(Hooks, a_late_thaw_that_takes_too_long_is_killed) {
  config::Hooks hooks = both();
  hooks.thaw_after = seconds(1);
  hooks.deadline = seconds(2);
  hooks.after_snapshot = {"sleep", "60"};
  SnapshotFreeze freeze(hooks, facts_, {});
  freeze.before();
  std::this_thread::sleep_for(milliseconds(1500));
  EXPECT_EQ(message_of([&] { freeze.after(); }),
            "the after-snapshot hook: it did not finish within 2 s and was killed");
}

TEST_F(Hooks, a_stop_request_ends_the_freeze_and_not_the_thaw) {
  std::stop_source stop;
  stop.request_stop();
  SnapshotFreeze freeze(both(), facts_, stop.get_token());
  EXPECT_ANY_THROW(freeze.before());
  freeze.after();
  EXPECT_THAT(logged(), HasSubstr("thaw"));
}

}  // namespace
}  // namespace respaldo::job
