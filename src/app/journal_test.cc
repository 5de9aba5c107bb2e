#include "app/journal.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace respaldo::app {
namespace {

TEST(Journal, lines_get_the_priority_of_what_they_are) {
  EXPECT_EQ(with_priorities("respaldo: the disk is gone\nhint: plug it in\n"),
            "<3>respaldo: the disk is gone\n<5>hint: plug it in\n");
  EXPECT_EQ(with_priorities("warning: nearly full\nbackup: 3%\n\n"),
            "<4>warning: nearly full\n<6>backup: 3%\n");
  EXPECT_EQ(with_priorities("no end"), "<6>no end\n");
  EXPECT_EQ(with_priorities(""), "");
}

TEST(Journal, is_told_by_device_and_inode) {
  struct stat facts {};
  ASSERT_EQ(::fstat(2, &facts), 0);
  EXPECT_TRUE(is_journal(2, fmt::format("{}:{}", facts.st_dev, facts.st_ino)));
  EXPECT_FALSE(is_journal(2, fmt::format("{}:{}", facts.st_dev, facts.st_ino + 1)));
  EXPECT_FALSE(is_journal(2, std::nullopt));
  EXPECT_FALSE(is_journal(2, "nonsense"));
}

}  // namespace
}  // namespace respaldo::app
