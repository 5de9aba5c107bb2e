#include "os/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <thread>

#include "base/error.h"
#include "os/file.h"

namespace respaldo::os {
namespace {

using namespace std::chrono_literals;

double seconds_of(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(RunCommand, gives_back_what_the_program_said) {
  const auto result = run_command({"sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
}

TEST(RunCommand, words_are_not_read_by_a_shell) {
  EXPECT_EQ(run_command({"printf", "%s", "$HOME; `id` *"}).out, "$HOME; `id` *");
}

TEST(RunCommand, the_locale_is_c) { EXPECT_EQ(run_command({"sh", "-c", "echo $LC_ALL"}).out, "C\n"); }

TEST(RunCommand, a_signal_is_128_and_more) {
  EXPECT_EQ(run_command({"sh", "-c", "kill -TERM $$"}).exit_code, 128 + SIGTERM);
}

TEST(RunCommand, a_program_that_does_not_exist_is_not_found) {
  try {
    run_command({"no-such-program-here"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    EXPECT_NE(error.message().find("no-such-program-here"), std::string::npos);
  }
}

TEST(RunCommand, a_program_that_is_there_and_cannot_be_started_is_not_called_missing) {
  const auto failure = [](const std::vector<std::string>& argv) {
    try {
      run_command(argv);
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorKind::internal, "it ran");
  };
  const Error long_words = failure({"true", std::string(3'000'000, 'x')});
  EXPECT_EQ(long_words.kind(), ErrorKind::io) << long_words.what();
  EXPECT_EQ(long_words.error_number(), E2BIG);
  const TemporaryFolder folder;
  const Path script = folder.path() / "script";
  open_file(script, O_WRONLY | O_CREAT, 0600);
  EXPECT_EQ(failure({script}).kind(), ErrorKind::refused);
}

TEST(RunCommand, much_input_and_much_output_at_once_do_not_block) {
  const std::string input(5'000'000, 'x');
  EXPECT_EQ(run_command({"cat"}, {.input = input}).out, input);
}

TEST(RunCommand, a_program_that_does_not_read_its_input_is_fine) {
  EXPECT_EQ(run_command({"true"}, {.input = std::string(1'000'000, 'x')}).exit_code, 0);
  EXPECT_EQ(
      run_command({"sh", "-c", "exec <&-; sleep 0.1"}, {.input = std::string(1'000'000, 'x')}).exit_code, 0);
}

TEST(RunCommand, without_input_the_program_sees_the_end_at_once) { EXPECT_EQ(run_command({"cat"}).out, ""); }

TEST(RunCommand, output_past_the_limit_is_dropped_and_not_kept) {
  const auto result =
      run_command({"sh", "-c", "head -c 1000000 /dev/zero; echo end >&2"}, {.output_limit = 1000});
  EXPECT_EQ(result.out.size(), 1000U);
  EXPECT_EQ(result.err, "end\n");
}

TEST(RunCommand, no_descriptor_leaks_into_the_program) {
  const int extra = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  EXPECT_NE(run_command({"test", "-e", "/proc/self/fd/" + std::to_string(extra)}).exit_code, 0);
  EXPECT_EQ(run_command({"test", "-e", "/proc/self/fd/2"}).exit_code, 0);
  ::close(extra);
}

TEST(RunCommand, the_time_limit_kills_the_whole_group) {
  const TemporaryFolder folder;
  const std::string mark = folder.path() / "alive";
  const double took = seconds_of([&] {
    EXPECT_THROW(run_command({"sh", "-c", "(sleep 2; touch " + mark + ") & sleep 60"}, {.limit = 200ms}),
                 Error);
  });
  EXPECT_LT(took, 1.5);
  std::this_thread::sleep_for(2200ms);
  EXPECT_FALSE(std::filesystem::exists(mark));
}

// Does not let the process whose id comes to stand in `file` be waited for: dead, it is its tracer's first.
// As near as a test comes to a process that waits for a device.
class Holder {
 public:
  explicit Holder(const std::string& file) : pid_(::fork()) {
    if (pid_ != 0) return;
    pid_t held = 0;
    while (held == 0) {
      std::this_thread::sleep_for(5ms);
      const std::string text = try_read_text(file).value_or("");
      if (text.ends_with('\n')) std::from_chars(text.data(), text.data() + text.size(), held);
    }
    if (::ptrace(PTRACE_SEIZE, held, nullptr, nullptr) != 0) ::_exit(1);
    ::sleep(30);
    ::_exit(0);
  }
  ~Holder() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  bool refused() const {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid == pid_ && info.si_status == 1;
  }

 private:
  const pid_t pid_;
};

TEST(RunCommand, one_that_cannot_be_ended_is_left_behind) {
  const TemporaryFolder folder;
  const std::string file = folder.path() / "pid";
  std::string told;
  double took = 0;
  {
    const Holder holder(file);
    took = seconds_of([&] {
      try {
        run_command({"sh", "-c", "echo $$ >" + file + "; exec sleep 20"}, {.limit = 2s});
      } catch (const CommandTimeout& error) {
        told = error.what();
      }
    });
    if (holder.refused()) GTEST_SKIP() << "nothing may be traced here";
  }
  EXPECT_EQ(told, "sh did not finish within 2000 ms, and could not be ended: a device does not answer");
  EXPECT_LT(took, 12);
}

TEST(RunCommand, the_time_limit_holds_when_the_program_closed_its_output) {
  const double took = seconds_of([] {
    EXPECT_THROW(run_command({"sh", "-c", "exec >&- 2>&-; sleep 5"}, {.limit = 200ms}), Error);
  });
  EXPECT_LT(took, 2);
}

TEST(RunCommand, a_stop_request_ends_it) {
  std::stop_source stop;
  std::jthread later([&] {
    std::this_thread::sleep_for(100ms);
    stop.request_stop();
  });
  const double took = seconds_of([&] {
    EXPECT_THROW(run_command({"sleep", "5"}, {}, stop.get_token()), Cancelled);
  });
  EXPECT_LT(took, 2);
}

TEST(RunCommand, a_daemon_left_behind_does_not_hold_us) {
  std::string out;
  const double took = seconds_of([&] { out = run_command({"sh", "-c", "echo started; sleep 4 &"}).out; });
  EXPECT_EQ(out, "started\n");
  EXPECT_LT(took, 2);
}

TEST(RunCommand, works_when_standard_input_is_closed) {
  const UniqueFd kept(::fcntl(0, F_DUPFD_CLOEXEC, 10));
  ::close(0);
  const auto result = run_command({"sh", "-c", "cat; echo err >&2"}, {.input = "in"});
  ::dup2(kept.get(), 0);
  EXPECT_EQ(result.out, "in");
  EXPECT_EQ(result.err, "err\n");
}

}  // namespace
}  // namespace respaldo::os
