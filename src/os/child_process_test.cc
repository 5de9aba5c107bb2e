#include "os/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/error.h"
#include "os/file.h"
#include "os/process.h"

namespace respaldo::os {
namespace {

using namespace std::chrono_literals;

std::string read_all(int fd) {
  std::string found;
  char buffer[256];
  for (ssize_t n = 0; (n = ::read(fd, buffer, sizeof buffer)) > 0;)
    found.append(buffer, static_cast<std::size_t>(n));
  return found;
}

TEST(ChildProcess, talks_while_it_runs) {
  ChildProcess child({"cat"}, environment_with({}));
  EXPECT_FALSE(child.ended());
  for (const char* text : {"first", "again"}) {
    write_all(child.in.get(), as_bytes(text), "pipe");
    char buffer[5];
    ASSERT_EQ(::read(child.out.get(), buffer, 5), 5);
    EXPECT_EQ(std::string(buffer, 5), text);
  }
  child.in.reset();
  EXPECT_EQ(child.wait(10s), 0);
  EXPECT_TRUE(child.ended());
}

TEST(ChildProcess, has_a_group_of_its_own_and_its_own_words_on_standard_error) {
  ChildProcess child({"sh", "-c", "echo complaint >&2; ps -o pgid= -p $$"}, environment_with({}));
  EXPECT_EQ(std::stoi(read_all(child.out.get())), child.pid());
  EXPECT_EQ(read_all(child.err.get()), "complaint\n");
  EXPECT_TRUE(child.wait(10s));
}

TEST(ChildProcess, is_killed_and_reaped_when_destroyed) {
  pid_t pid = 0;
  {
    const ChildProcess child({"sleep", "1000"}, environment_with({}));
    pid = child.pid();
  }
  EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1);  // no zombie
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(ChildProcess, patience_ends) {
  ChildProcess child({"sleep", "1000"}, environment_with({}));
  EXPECT_FALSE(child.wait(20ms));
  child.kill(SIGTERM);
  const auto status = child.wait(10s);
  ASSERT_TRUE(status);
  EXPECT_TRUE(WIFSIGNALED(*status));
}

TEST(ChildProcess, writing_to_one_that_has_gone_is_an_error_and_no_signal) {
  ChildProcess child({"true"}, environment_with({}));
  ASSERT_TRUE(child.wait(10s));
  EXPECT_EQ(write_quietly(child.in.get(), "x"), -1);
  EXPECT_EQ(errno, EPIPE);
}

}  // namespace
}  // namespace respaldo::os
