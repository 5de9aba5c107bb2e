#include "os/prompt.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <thread>

#include "base/error.h"
#include "os/signals.h"
#include "os/unique_fd.h"

namespace respaldo::os {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kCancelled = 77;

// A process at a terminal of its own: signals, descriptors and terminals are the process'.
class Prompt : public ::testing::Test {
 protected:
  Prompt() : terminal_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    ::grantpt(terminal_.get());
    ::unlockpt(terminal_.get());
    // Ours too: the terminal's settings are to be seen when the process has gone.
    line_ = UniqueFd(::open(::ptsname(terminal_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  }
  ~Prompt() override {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }

  // body()'s value is the exit code.
  void start(const std::function<int()>& body) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::setsid();
    ::ioctl(line_.get(), TIOCSCTTY, 0);
    for (int fd : {0, 1, 2}) ::dup2(line_.get(), fd);
    install_stop_signals();
    int code = 99;
    try {
      code = body();
    } catch (const Cancelled&) {
      code = kCancelled;
    }
    ::_exit(code);
  }
  void type(std::string_view text) const {
    ASSERT_EQ(::write(terminal_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  // Reads until `text` was shown.
  bool shows(std::string_view text) {
    for (int i = 0; i < 200 && shown_.find(text) == std::string::npos; ++i) {
      pollfd ready{terminal_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 50) <= 0) continue;
      char buffer[1000];
      const ssize_t n = ::read(terminal_.get(), buffer, sizeof buffer);
      if (n > 0) shown_.append(buffer, static_cast<std::size_t>(n));
    }
    return shown_.find(text) != std::string::npos;
  }
  // -1 when it does not end.
  int exit_code() {
    for (int i = 0; i < 1000; ++i) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
      std::this_thread::sleep_for(10ms);
    }
    return -1;
  }
  bool echoes() const {
    termios now{};
    return ::tcgetattr(line_.get(), &now) == 0 && (now.c_lflag & ECHO) != 0;
  }
  void kill(int signal) const { ::kill(pid_, signal); }

  std::string shown_;

 private:
  UniqueFd terminal_, line_;
  pid_t pid_ = 0;
};

TEST_F(Prompt, a_secret_is_not_shown_and_the_next_answer_is) {
  start([] {
    const bool first = ask("password: ", true, stop_signals()) == "secret";
    return first && ask("sure? ", false, stop_signals()) == "yes" ? 0 : 1;
  });
  ASSERT_TRUE(shows("password: "));
  EXPECT_FALSE(echoes());
  type("secret\n");
  ASSERT_TRUE(shows("sure? "));
  EXPECT_TRUE(echoes());
  type("yes\n");
  EXPECT_TRUE(shows("yes"));
  EXPECT_EQ(exit_code(), 0);
  EXPECT_THAT(shown_, Not(HasSubstr("secret")));
}

TEST_F(Prompt, answers_that_were_typed_early_are_not_lost) {
  type("secret\nyes\n");
  start([] {
    const bool first = ask("password: ", true, stop_signals()) == "secret";
    return first && ask("sure? ", false, stop_signals()) == "yes" ? 0 : 1;
  });
  EXPECT_EQ(exit_code(), 0);
}

TEST_F(Prompt, the_end_of_the_input_is_no_answer) {
  start([] { return ask("sure? ", false, stop_signals()) ? 1 : 0; });
  ASSERT_TRUE(shows("sure? "));
  type("\x04");
  EXPECT_EQ(exit_code(), 0);
}

TEST_F(Prompt, ctrl_c_ends_the_question_and_what_is_typed_is_shown_again) {
  for (const bool secret : {true, false}) {
    start([=] { return ask("password: ", secret, stop_signals()) ? 1 : 2; });
    ASSERT_TRUE(shows("password: "));
    shown_.clear();
    type("sec");
    type("\x03");
    EXPECT_EQ(exit_code(), kCancelled);
    EXPECT_TRUE(echoes());
  }
}

TEST_F(Prompt, so_does_sigterm) {
  start([] { return ask("password: ", true, stop_signals()) ? 1 : 2; });
  ASSERT_TRUE(shows("password: "));
  kill(SIGTERM);
  EXPECT_EQ(exit_code(), kCancelled);
  EXPECT_TRUE(echoes());
}

TEST_F(Prompt, a_second_ctrl_c_leaves_the_terminal_as_it_was) {
  start([] { return ask("password: ", true, {}) ? 1 : 2; });  // nobody tells it to stop
  ASSERT_TRUE(shows("password: "));
  EXPECT_FALSE(echoes());
  kill(SIGINT);
  std::this_thread::sleep_for(100ms);
  kill(SIGINT);
  EXPECT_EQ(exit_code(), 128 + SIGINT);
  EXPECT_TRUE(echoes());
}

}  // namespace
}  // namespace respaldo::os
