#include "engine/kernel/tools/lvm_command.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <thread>

#include "base/error.h"
#include "testing/replay_runner.h"

namespace respaldo::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LvmCommandTest : public ::testing::Test {
 protected:
  respaldo::testing::ReplayRunner machine_;
  const LvmCommand lvm_{machine_};

  Error complaint(os::CommandResult result) {
    machine_.on({"lvm"}, std::move(result));
    try {
      lvm_.change({"lvcreate", "-s"});
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorKind::internal, "no complaint");
  }
};

TEST_F(LvmCommandTest, reports_are_asked_for_in_bytes_and_json) {
  machine_.on(
      {"lvm", "vgs", "--reportformat", "json", "--units", "b", "--nosuffix", "vg0"},
      {0, R"({"report":[{"vg":[{"vg_name":"vg0","vg_size":"12"}]}]})", "  WARNING: a PV is missing\n"});
  const auto report = lvm_.vgs({"vg0"});
  ASSERT_EQ(report.rows.size(), 1U);
  EXPECT_EQ(report.rows[0].size, 12U);
  EXPECT_THAT(report.warnings, ElementsAre("a PV is missing"));
}

TEST_F(LvmCommandTest, what_was_asked_for_lately_is_known_until_something_is_changed) {
  machine_.on({"lvm", "lvs"}, {0, R"({"report":[{"lv":[{"vg_name":"vg0","lv_name":"a"}]}]})", "  WARNING: old\n"});
  machine_.on({"lvm", "vgs"}, {0, R"({"report":[{"vg":[{"vg_name":"vg0"}]}]})", ""});
  const auto asked = [&] { return machine_.count({"lvm", "lvs"}); };
  lvm_.lvs_lately();
  EXPECT_THAT(lvm_.lvs_lately().warnings, ElementsAre("old"));
  lvm_.vgs_lately();
  EXPECT_EQ(asked(), 1U);
  lvm_.lvs();  // always anew
  lvm_.lvs_lately();
  EXPECT_EQ(asked(), 2U);
  lvm_.forget();
  lvm_.lvs_lately();
  EXPECT_EQ(asked(), 3U);
  // Whether it fails or not; and what is asked while it runs may be half of it.
  machine_.on({"lvm", "lvcreate"}, [&](const auto&) {
    lvm_.lvs_lately();
    return os::CommandResult{5, "", "  no\n"};
  });
  EXPECT_THROW(lvm_.change({"lvcreate"}), Error);
  EXPECT_EQ(asked(), 4U);
  lvm_.lvs_lately();
  EXPECT_EQ(asked(), 5U);
  EXPECT_EQ(machine_.count({"lvm", "vgs"}), 1U);
}

TEST_F(LvmCommandTest, what_was_asked_for_longer_ago_is_asked_again) {
  machine_.on({"lvm", "lvs"}, {0, R"({"report":[{"lv":[]}]})", ""});
  lvm_.lvs_lately();
  std::this_thread::sleep_for(LvmCommand::kMoment + std::chrono::milliseconds(10));
  lvm_.lvs_lately();
  EXPECT_EQ(machine_.count({"lvm", "lvs"}), 2U);
}

TEST_F(LvmCommandTest, complaints_become_errors_of_a_kind) {
  if (::geteuid() != 0) GTEST_SKIP() << "everything is refused without root";
  const auto kind = [&](const char* said) { return complaint({5, "", said}).kind(); };
  EXPECT_EQ(kind("  Volume group \"vg0\" has insufficient free space (3 extents): 4 required.\n"),
            ErrorKind::no_space);
  EXPECT_EQ(kind("  Failed to find logical volume \"vg0/nothing\"\n"), ErrorKind::not_found);
  EXPECT_EQ(kind("  Volume group \"x\" not found\n  Cannot process volume group x\n"), ErrorKind::not_found);
  EXPECT_EQ(kind("  Logical Volume \"root\" already exists in volume group \"vg0\"\n"), ErrorKind::refused);
  EXPECT_EQ(kind("  Logical volume vg0/two in use.\n"), ErrorKind::busy);
  EXPECT_EQ(kind("  something new\n"), ErrorKind::io);
}

TEST_F(LvmCommandTest, a_complaint_is_one_line_of_lvm2s_words) {
  EXPECT_EQ(
      lvm_complaint("  WARNING: noise\n  Volume group \"x\" not found.\n  Cannot process volume group x\n"),
      "Volume group \"x\" not found; Cannot process volume group x");
  EXPECT_THAT(complaint({5, "", ""}).message(), HasSubstr("exit code 5"));
}

TEST_F(LvmCommandTest, without_lvm2_it_says_what_to_install) {
  machine_.on({"lvm"}, [](const auto&) -> os::CommandResult {
    throw Error(ErrorKind::not_found, "cannot run lvm: No such file or directory");
  });
  try {
    lvm_.lvs();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    EXPECT_THAT(error.hint(), HasSubstr("apt install lvm2"));
  }
}

TEST_F(LvmCommandTest, an_lvm2_that_is_too_old_is_named) {
  machine_.on(
      {"lvm", "lvs"},
      {3, "", "  lvs: unrecognized option '--reportformat'\n  Error during parsing of command line.\n"});
  machine_.on({"lvm", "version"},
              {0, "  LVM version:     2.02.111(2) (2014-09-01)\n  Library version: 1.02.90\n", ""});
  try {
    lvm_.lvs();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_THAT(error.message(), HasSubstr("2.02.111"));
  }
}

TEST_F(LvmCommandTest, a_lock_that_does_not_come_free_is_busy) {
  machine_.on({"lvm"}, [](const auto&) -> os::CommandResult {
    throw os::CommandTimeout(ErrorKind::io, "lvm did not finish within 60000 ms");
  });
  try {
    lvm_.change({"lvextend"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::busy);
    EXPECT_THAT(error.message(), HasSubstr("lock"));
  }
}

TEST(LvmVersion, is_compared_by_numbers) {
  EXPECT_TRUE(lvm_version_at_least("2.03.16(2) (2022-05-18)", kOldestLvm2));
  EXPECT_TRUE(lvm_version_at_least("2.02.158(2)", kOldestLvm2));
  EXPECT_FALSE(lvm_version_at_least("2.02.99(2)", kOldestLvm2));
  EXPECT_FALSE(lvm_version_at_least("", kOldestLvm2));
}

}  // namespace
}  // namespace respaldo::engine
