#include "serve/mount_point.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <thread>

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

// Where fusermount3 is not there, the watcher must not take the whole program down.
TEST(MountPoint, what_cannot_be_unmounted_is_told_and_waited_for) {
  class Notes final : public Progress {
   public:
    void begin(std::string_view, std::uint64_t) override {}
    void advance(std::uint64_t) override {}
    void end() override {}
    void note(std::string_view text) override { said.emplace_back(text); }
    std::vector<std::string> said;
  } notes;
  const os::TemporaryFolder folder;
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", folder.path().c_str(), 1);
  std::stop_source stop;
  stop.request_stop();
  std::atomic<bool> over{false}, threw{false};
  {
    std::jthread watcher([&] {
      try {
        unmount_when_stopped(folder.path(), notes, stop.get_token(), over);
      } catch (...) {
        threw = true;
      }
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    over = true;
  }
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_FALSE(threw);
  ASSERT_EQ(notes.said.size(), 1U);
  EXPECT_THAT(notes.said.front(), HasSubstr("unmount it by hand"));
}

}  // namespace
}  // namespace respaldo::serve
