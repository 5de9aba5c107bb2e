// Moves on a recorded machine: the door to lvm2 is what is looked at.
#include "engine/kernel/live_moves.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "engine/kernel/tools/fake_dm_control_test.h"
#include "testing/replay_runner.h"

namespace respaldo::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LiveMoves : public ::testing::Test {
 protected:
  LiveMoves() {
    volume_.vg = "vg0", volume_.vg_uuid = "G", volume_.name = "root", volume_.uuid = "U",
    volume_.segment_type = "linear";
    volume_.role = {"public"}, volume_.active = "active";
    machine_->on(
        {"lvm", "vgs"},
        {0, R"({"report":[{"vg":[{"vg_name":"vg0","vg_uuid":"G","vg_permissions":"writeable"}]}]})", ""});
    machine_->on(
        {"lvm", "pvs"},
        {0,
         R"({"report":[{"pv":[{"pv_name":"/dev/a","vg_name":"vg0","vg_uuid":"G","pv_free":"0","pv_allocatable":"allocatable"},)"
         R"({"pv_name":"/dev/b","vg_name":"vg0","vg_uuid":"G","pv_free":"8388608","pv_allocatable":"allocatable"}]}]})",
         ""});
    KernelEngineOptions options;
    options.commands = machine_;
    options.device_mapper = std::make_shared<FakeDmControl>();
    options.state = folder_.path();
    world_.emplace(std::move(options));
  }
  static os::CommandResult lies_on(const std::string& device, const std::string& more = "") {
    return {
        0,
        R"({"report":[{"seg":[{"vg_uuid":"G","lv_uuid":"U","lv_name":"root","segtype":"linear","seg_size":"4194304","devices":")" +
            device + R"("})" + more + "]}]}",
        ""};
  }
  const std::string move_ =
      R"x(,{"vg_uuid":"G","lv_uuid":"P","lv_name":"[pvmove0]","segtype":"mirror","move_pv":"/dev/a",)x"
      R"x("devices":"/dev/a(0),/dev/b(0)"})x";
  os::TemporaryFolder folder_;
  std::shared_ptr<respaldo::testing::ReplayRunner> machine_ =
      std::make_shared<respaldo::testing::ReplayRunner>();
  std::optional<World> world_;
  LvRow volume_;
  SilentProgress progress_;
};

TEST_F(LiveMoves, a_move_is_atomic_and_of_that_volume_alone) {
  machine_->on({"lvm", "lvs", "--segments"}, lies_on("/dev/a(0)"));
  const MovePlan plan = plan_live_move(*world_, volume_, "/dev/b");
  EXPECT_THAT(plan.from, ElementsAre("/dev/a"));
  EXPECT_EQ(plan.bytes, 4194304U);
  machine_->on({"lvm", "pvmove"}, [this](const auto&) {
    machine_->on({"lvm", "lvs", "--segments"}, lies_on("/dev/b(0)"));
    return os::CommandResult{0, "", ""};
  });
  EXPECT_EQ(move_live_volume(*world_, volume_, plan, progress_, {}), MoveOutcome::moved);
  EXPECT_EQ(machine_->count({"pvmove"}), 1U);
  EXPECT_EQ(machine_->count({"pvmove", "--atomic", "-n", "root", "/dev/a", "/dev/b"}), 1U);
}

TEST_F(LiveMoves, a_move_that_was_begun_is_gone_on_with_and_never_begun_anew) {
  machine_->on({"lvm", "lvs", "--segments"}, lies_on("pvmove0(0)", move_));
  const MovePlan plan = plan_live_move(*world_, volume_, "/dev/b");
  EXPECT_TRUE(plan.begun);
  machine_->on({"lvm", "lvchange", "--poll", "y", "vg0/root"}, [this](const auto&) {
    machine_->on({"lvm", "lvs", "--segments"}, lies_on("/dev/b(0)"));
    return os::CommandResult{0, "", ""};
  });
  EXPECT_EQ(move_live_volume(*world_, volume_, plan, progress_, {}), MoveOutcome::moved);
  EXPECT_EQ(machine_->count({"pvmove"}), 0U) << "`pvmove /dev/a` would empty the disk if the move had ended";
}

TEST_F(LiveMoves, a_failure_takes_back_what_was_begun) {
  machine_->on({"lvm", "lvs", "--segments"}, lies_on("/dev/a(0)"));
  const MovePlan plan = plan_live_move(*world_, volume_, "/dev/b");
  machine_->on({"lvm", "pvmove", "--atomic"}, [this](const auto&) {
    machine_->on({"lvm", "lvs", "--segments"}, lies_on("pvmove0(0)", move_));
    return os::CommandResult{5, "", "  Failed to activate"};
  });
  machine_->on({"lvm", "pvmove", "--abort", "/dev/a"}, [this](const auto&) {
    machine_->on({"lvm", "lvs", "--segments"}, lies_on("/dev/a(0)"));
    return os::CommandResult{0, "", ""};
  });
  EXPECT_THROW(move_live_volume(*world_, volume_, plan, progress_, {}), Error);
  EXPECT_EQ(machine_->count({"pvmove", "--abort", "/dev/a"}), 1U);
}

TEST_F(LiveMoves, without_room_or_with_another_move_nothing_is_begun) {
  machine_->on({"lvm", "lvs", "--segments"}, lies_on("/dev/b(0)"));
  try {
    plan_live_move(*world_, volume_, "/dev/a");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::no_space);
  }
  machine_->on({"lvm", "lvs", "--segments"}, lies_on("/dev/a(0)", move_));
  try {
    plan_live_move(*world_, volume_, "/dev/b");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::busy);
    EXPECT_THAT(error.what(), HasSubstr("/dev/a to /dev/b"));
  }
  EXPECT_THROW(abort_live_move(*world_, volume_), Error);
  EXPECT_EQ(machine_->count({"pvmove"}), 0U);
}

}  // namespace
}  // namespace respaldo::engine
