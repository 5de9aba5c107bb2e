// How libfuse's loop ends, and with it a mount.
#include "serve/fuse_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "base/units.h"
#include "serve/mount.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"

namespace respaldo::serve {
namespace {

using ::testing::HasSubstr;

std::string failure_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    return error.what();
  }
  return "";
}

TEST(FuseLoop, WhatIsNoUnmountIsAFailure) {
  const auto ended_with = [](int result) {
    return failure_of([&] { run_fuse_loop(3, [&](fuse_loop_config*) { return result; }); });
  };
  EXPECT_EQ(ended_with(0), "");
  EXPECT_EQ(ended_with(SIGTERM), "");
  EXPECT_THAT(ended_with(-EIO), HasSubstr("Input/output error"));
  EXPECT_THAT(ended_with(-1), HasSubstr("thread"));
}

// Stacks that the limit leaves no room for.
class NoRoomForThreads {
 public:
  NoRoomForThreads() {
    std::uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    ::getrlimit(RLIMIT_AS, &before_);
    const rlimit limit{pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) + kGiB, before_.rlim_max};
    ::setrlimit(RLIMIT_AS, &limit);
    ::setenv("FUSE_THREAD_STACK", "2147418112", 1);
  }
  ~NoRoomForThreads() {
    ::unsetenv("FUSE_THREAD_STACK");
    ::setrlimit(RLIMIT_AS, &before_);
  }
  NoRoomForThreads(const NoRoomForThreads&) = delete;
  NoRoomForThreads& operator=(const NoRoomForThreads&) = delete;

 private:
  rlimit before_{};
};

TEST(FuseLoop, AMountWithoutThreadsFails) {
  const auto repository = testing::memory_repository();
  const os::TemporaryFolder folder;
  std::stop_source stop;
  MountOptions options;
  options.mount_point = folder.path();
  options.ready = [&] { stop.request_stop(); };  // should it work nevertheless
  SilentProgress silent;
  const NoRoomForThreads none;
  const std::string why = failure_of([&] { mount_backups(*repository, options, silent, stop.get_token()); });
  if (why.starts_with("cannot mount on ")) GTEST_SKIP() << why;
  EXPECT_THAT(why, HasSubstr("could not start a thread"));
}

}  // namespace
}  // namespace respaldo::serve
