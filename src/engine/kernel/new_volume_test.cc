// Volumes of a restore on a recorded machine.
#include <gmock/gmock.h>

#include "base/error.h"
#include "engine/kernel/bases.h"
#include "engine/kernel/cleaning.h"
#include "engine/kernel/live_changes.h"
#include "engine/kernel/tools/fake_dm_control_test.h"
#include "journal/names.h"
#include "testing/replay_runner.h"

namespace respaldo::engine {
namespace {

using ::testing::HasSubstr;

class NewVolumeTest : public ::testing::Test {
 protected:
  NewVolumeTest() {
    machine_->on({"lvm", "vgs"},
                 {0,
                  R"({"report":[{"vg":[{"vg_name":"vg0","vg_uuid":"G","vg_free":"1073741824",)"
                  R"("vg_extent_size":"4194304","vg_permissions":"writeable"}]}]})",
                  ""});
    machine_->on({"lvm", "lvs"}, {0, R"({"report":[{"lv":[]}]})", ""});
    machine_->on({"lvm", "lvcreate"}, [this](const auto&) {
      volume(journal::Owner::self());
      return os::CommandResult{};
    });
    machine_->on({"lvm", "lvremove"}, {0, "", ""});
  }
  void volume(const journal::Owner& owner) {
    machine_->on({"lvm", "lvs"},
                 {0,
                  R"({"report":[{"lv":[{"vg_name":"vg0","vg_uuid":"G","lv_name":"new","lv_uuid":"U",)"
                  R"("lv_size":"4194304","lv_role":"public","lv_tags":"respaldo,)" +
                      owner.tag() + R"("}]}]})",
                  ""});
  }
  // A lock that nobody gives back.
  void no_lock() {
    machine_->on({"lvm", "lvchange"}, [](const auto&) -> os::CommandResult {
      throw os::CommandTimeout(ErrorKind::io, "it waits");
    });
  }
  std::shared_ptr<World> world() {
    return std::make_shared<World>(KernelEngineOptions{.commands = machine_,
                                                       .device_mapper = dm_,
                                                       .state = folder_.path(),
                                                       .dev = "/dev",
                                                       .stop = stop_.get_token()});
  }

  // Its process has ended, and what it made looks like a leftover.
  void restored_whole() {
    no_lock();
    {
      const auto made = make_live_volume(world(), request_);
      stop_.request_stop();
      EXPECT_THROW(made->keep(), Error);
    }
    stop_ = {};
    ++dead_.start;
    volume(dead_);
  }

  journal::Owner dead_ = journal::Owner::self();
  os::TemporaryFolder folder_;
  std::shared_ptr<testing::ReplayRunner> machine_ = std::make_shared<testing::ReplayRunner>();
  std::shared_ptr<FakeDmControl> dm_ = std::make_shared<FakeDmControl>();
  std::stop_source stop_;
  const NewVolumeRequest request_{{"vg0", "new"}, 4 << 20, ""};
};

TEST_F(NewVolumeTest, a_lock_that_comes_late_is_waited_for) {
  const auto made = make_live_volume(world(), request_);
  machine_->on({"lvm", "lvchange"}, {0, "", ""});
  machine_->once({"lvm", "lvchange"}, [](const auto&) -> os::CommandResult {
    throw os::CommandTimeout(ErrorKind::io, "it waits");
  });
  made->keep();
  EXPECT_EQ(machine_->count({"lvm", "lvchange", "--deltag", "respaldo", "--deltag",
                             journal::Owner::self().tag(), "vg0/new"}),
            2U);
}

TEST_F(NewVolumeTest, a_whole_volume_is_never_thrown_away) {
  no_lock();
  {
    auto made = make_live_volume(world(), request_);
    stop_.request_stop();
    try {
      made->keep();
      FAIL();
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), HasSubstr("vg0/new is whole and stays"));
      EXPECT_THAT(error.hint(),
                  HasSubstr("lvchange --deltag respaldo --deltag " + journal::Owner::self().tag()));
    }
  }
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 0U);

  // The process has ended; its volume looks like a leftover.
  stop_ = {};
  journal::Owner dead = journal::Owner::self();
  ++dead.start;
  volume(dead);
  const auto later = world();
  EXPECT_THROW(make_live_volume(later, request_), Error) << "restored once more";
  CleanReport report = clean_leftovers(*later, {});
  ASSERT_EQ(report.items.size(), 1U);
  EXPECT_NE(report.items[0].problem, "");
  machine_->on({"lvm", "lvchange"}, {0, "", ""});
  report = clean_leftovers(*later, {});
  ASSERT_EQ(report.items.size(), 1U);
  EXPECT_EQ(report.items[0].problem, "");
  EXPECT_EQ(machine_->count({"lvm", "lvchange", "--deltag", dead.tag(), "vg0/new"}), 2U);
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 0U);
}

TEST_F(NewVolumeTest, that_a_volume_is_whole_is_remembered_while_its_group_is_away) {
  restored_whole();
  const auto later = world();
  machine_->on({"lvm", "lvs"}, {0, R"({"report":[{"lv":[]}]})", ""});
  machine_->on({"lvm", "vgs"}, {0, R"({"report":[{"vg":[]}]})", ""});
  EXPECT_TRUE(clean_leftovers(*later, {}).items.empty());
  volume(dead_);
  machine_->on({"lvm", "lvchange"}, {0, "", ""});
  EXPECT_EQ(clean_leftovers(*later, {}).items.size(), 1U);
  EXPECT_EQ(machine_->count({"lvm", "lvchange", "--deltag", dead_.tag(), "vg0/new"}), 1U);
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 0U);
  EXPECT_TRUE(journal::all_intents(folder_.path()).empty()) << "it has no tags any more";
}

TEST_F(NewVolumeTest, another_one_who_cleans_hides_nothing) {
  restored_whole();
  machine_->on({"lvm", "lvchange"}, {0, "", ""});
  const auto other = journal::dead_journals(folder_.path());
  ASSERT_EQ(other.size(), 1U);
  EXPECT_EQ(clean_leftovers(*world(), {}).items.size(), 1U);
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 0U);
}

TEST_F(NewVolumeTest, a_metadata_snapshot_is_remembered_until_its_pool_is_active) {
  { journal::Journal(folder_.path()).begin(kMetadataSnapshotIntent,
                                           {{"vg", "vg0"}, {"vg_uuid", "G"}, {"pool", "new"}, {"pool_uuid", "U"},
                                            {"held_root", "42"}}); }
  volume(journal::Owner::self());
  const auto remembered = [&] { return !journal::all_intents(folder_.path()).empty(); };
  const auto later = world();
  EXPECT_TRUE(clean_leftovers(*later, {}).items.empty());
  EXPECT_TRUE(remembered());
  FakeDmControl::Device pool;
  pool.info.name = "vg0-new-tpool";
  pool.info.uuid = dm_uuid("G", "U", "tpool");
  pool.status = {{0, 8, "thin-pool", "1 10/512 100/2048 42 rw discard_passdown queue_if_no_space - 1024"}};
  dm_->devices[pool.info.name] = pool;
  EXPECT_EQ(clean_leftovers(*later, {}).items.size(), 1U);
  EXPECT_EQ(dm_->messages.size(), 1U);
  EXPECT_FALSE(remembered());
}

TEST_F(NewVolumeTest, one_that_was_not_finished_goes) {
  { const auto made = make_live_volume(world(), request_); }
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 1U);
}

}  // namespace
}  // namespace respaldo::engine
