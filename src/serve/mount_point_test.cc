#include "serve/mount_point.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "testing/temp.h"

namespace respaldo::serve {
namespace {

using ::testing::HasSubstr;

std::string refusal(const os::Path& folder) {
  try {
    mount_point(folder, "a test");
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(MountPoint, is_an_empty_folder_on_which_nothing_is_mounted) {
  const os::TemporaryFolder folder;
  EXPECT_EQ(mount_point(folder.path(), "a test"), std::filesystem::canonical(folder.path()));
  const os::Path file = folder.path() / ".hidden";
  std::ofstream(file).close();
  EXPECT_THAT(refusal(folder.path()), HasSubstr("is not empty"));
  EXPECT_THAT(refusal(file), HasSubstr("is not a folder"));
  EXPECT_THAT(refusal(folder.path() / "none"), HasSubstr("No such file"));
  EXPECT_THAT(refusal("/proc"), HasSubstr("is mounted on /proc already"));
}

}  // namespace
}  // namespace respaldo::serve
