#include "os/kernel_files.h"

#include <gtest/gtest.h>

namespace respaldo::os {
namespace {

TEST(KernelFiles, releases_are_compared_by_their_numbers) {
  EXPECT_TRUE(is_since("5.8.0", "5.8"));
  EXPECT_TRUE(is_since("5.10.0-21-amd64", "5.8"));
  EXPECT_TRUE(is_since("6.1-rc3", "5.8"));
  EXPECT_FALSE(is_since("5.7.19", "5.8"));
  EXPECT_FALSE(is_since("4.18.0-553.el8.x86_64", "5.8"));
  EXPECT_FALSE(is_since("", "5.8"));
  EXPECT_FALSE(is_since("unknown", "5.8"));
  EXPECT_TRUE(kernel_is_since("2.6"));
}

}  // namespace
}  // namespace respaldo::os
