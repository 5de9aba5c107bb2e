// A filesystem that is soon full.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

namespace respaldo::testing {

// Runs `body` where `where` is an empty tmpfs with these options, in a process of its own: the mount ends with it. What the body
// expects fails the test. False when this may not mount.
template <class Body>
bool on_small_filesystem(const std::filesystem::path& where, const char* options, Body body) {
  constexpr int kFailed = 1, kMayNot = 2;
  std::filesystem::create_directory(where);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", where.c_str(), "tmpfs", 0, options) != 0)
      ::_exit(kMayNot);
    body();
    std::fflush(nullptr);
    ::_exit(::testing::Test::HasFailure() ? kFailed : 0);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  const bool may_not = WIFEXITED(status) && WEXITSTATUS(status) == kMayNot;
  EXPECT_TRUE(may_not || status == 0);
  return !may_not;
}

}  // namespace respaldo::testing
