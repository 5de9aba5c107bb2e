#include "app/password.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "os/file.h"
#include "testing/errors.h"

namespace respaldo::app {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

constexpr milliseconds kSoon{300};

class Password : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_.path() / name).native(); }
  std::string fifo() const {
    const std::string name = path("fifo");
    EXPECT_EQ(::mkfifo(name.c_str(), 0600), 0);
    return name;
  }
  // Stopped while it waits.
  template <class Body>
  static void expect_stops(Body&& body) {
    std::stop_source source;
    const std::jthread soon([&] {
      std::this_thread::sleep_for(kSoon);
      source.request_stop();
    });
    const auto begun = steady_clock::now();
    EXPECT_THROW(body(source.get_token()), Cancelled);
    EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(20));
  }
  const std::stop_token never_;

 private:
  os::TemporaryFolder folder_;
};

TEST_F(Password, of_files_and_commands_loses_the_white_space_around_it) {
  std::ofstream(path("file")) << " two words\n";
  EXPECT_EQ(password_from_file(path("file"), never_), "two words");
  EXPECT_EQ(password_from_command("echo 'two words'", never_), "two words");
}

TEST_F(Password, a_command_that_hangs_is_ended) {
  const Error late = testing::error_of([&] { password_from_command("sleep 1000", never_, kSoon); });
  EXPECT_EQ(late.kind(), ErrorKind::io);
  EXPECT_THAT(late.message(), HasSubstr("the password command did not end within"));
  expect_stops([](const std::stop_token& stop) { password_from_command("sleep 1000", stop); });
}

TEST_F(Password, a_pipe_that_nobody_writes_to_is_not_waited_for_for_ever) {
  const std::string pipe = fifo();
  const Error late = testing::error_of([&] { password_from_file(pipe, never_, kSoon); });
  EXPECT_EQ(late.kind(), ErrorKind::io);
  EXPECT_THAT(late.hint(), HasSubstr("it is a pipe"));
  expect_stops([&](const std::stop_token& stop) { password_from_file(pipe, stop); });
}

TEST_F(Password, pipes_are_read_to_their_end) {
  const std::string pipe = fifo();
  {
    const std::jthread writer([&] {
      std::this_thread::sleep_for(kSoon);
      std::ofstream file(pipe);
      file << "sec" << std::flush;
      std::this_thread::sleep_for(kSoon);
      file << "ret\n";
    });
    EXPECT_EQ(password_from_file(pipe, never_), "secret");
  }
  // As a shell's <(...): written and closed before it is opened.
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const os::UniqueFd out(ends[0]);
  os::UniqueFd in(ends[1]);
  os::write_all(in.get(), as_bytes("secret\n"), "a pipe");
  in.reset();
  EXPECT_EQ(password_from_file("/dev/fd/" + std::to_string(out.get()), never_), "secret");
}

}  // namespace
}  // namespace respaldo::app
