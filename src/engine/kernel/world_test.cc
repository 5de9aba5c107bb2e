#include "engine/kernel/world.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/kernel/tools/fake_dm_control_test.h"
#include "testing/replay_runner.h"

namespace respaldo::engine {
namespace {

class WorldTest : public ::testing::Test {
 protected:
  WorldTest()
      : world_({.commands = machine_,
                .device_mapper = dm_,
                .state = folder_.path(),
                .dev = "/dev",
                .stop = {}}) {}
  void remove() { world_.remove_volume("vg0", "VG", "LV", std::chrono::milliseconds(0)); }
  void says_not_found() {
    machine_->on({"lvm", "lvremove"}, [](const auto&) -> os::CommandResult {
      throw Error(ErrorKind::not_found, "Volume group \"vg0\" not found");
    });
  }
  void device() {
    FakeDmControl::Device device;
    device.info.uuid = dm_uuid("VG", "LV");
    dm_->devices["vg0-snap"] = device;
  }

  os::TemporaryFolder folder_;
  std::shared_ptr<testing::ReplayRunner> machine_ = std::make_shared<testing::ReplayRunner>();
  std::shared_ptr<FakeDmControl> dm_ = std::make_shared<FakeDmControl>();
  World world_;
};

TEST_F(WorldTest, a_volume_that_lvm2_does_not_find_and_that_has_no_device_is_gone) {
  says_not_found();
  remove();
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 1U);
}

TEST_F(WorldTest, a_volume_with_a_device_is_not_gone_whatever_lvm2_says) {
  device();
  says_not_found();
  EXPECT_THROW(remove(), Error);
  machine_->on({"lvm", "lvremove"}, {0, "", ""});
  EXPECT_THROW(remove(), Error);
  dm_->devices.clear();
  remove();
}

TEST_F(WorldTest, what_has_lost_its_tag_stays) {
  device();
  machine_->on({"lvm", "lvremove"}, {0, "", ""});
  machine_->on({"lvm", "lvs"}, {0, R"({"report":[{"lv":[{"vg_name":"vg0","lv_name":"a","lv_uuid":"LV"}]}]})", ""});
  EXPECT_FALSE(world_.remove_volume("vg0", "VG", "LV", std::chrono::milliseconds(0), "dead"));
  EXPECT_EQ(machine_->count({"lvm", "lvremove", "-S", "lv_uuid=LV && lv_tags={dead}", "vg0"}), 1U);
}

}  // namespace
}  // namespace respaldo::engine
