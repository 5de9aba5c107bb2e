#include "engine/kernel/volume_segments.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace respaldo::engine {
namespace {

std::string row(const std::string& lv, const std::string& type, const std::string& devices,
                const std::string& move_pv = "", const std::string& vg_uuid = "G",
                std::uint64_t size = 4194304) {
  return R"({"vg_uuid":")" + vg_uuid + R"(","lv_uuid":"U-)" + lv + R"(","lv_name":")" + lv +
         R"(","segtype":")" + type + R"(","seg_size":")" + std::to_string(size) + R"(","move_pv":")" +
         move_pv + R"(","devices":")" + devices + R"("})";
}
Whereabouts of(const std::vector<std::string>& rows) {
  std::string all;
  for (const std::string& one : rows) all += (all.empty() ? "" : ",") + one;
  LvRow root;
  root.vg = "vg0", root.vg_uuid = "G", root.name = "root", root.uuid = "U-root";
  return whereabouts_of(parse_segments(R"({"report":[{"seg":[)" + all + "]}]}"), root);
}

TEST(VolumeSegments, the_shares_of_each_disk_are_added_and_other_groups_do_not_count) {
  const auto found = of({row("root", "linear", "/dev/a(0)"), row("root", "linear", "/dev/b(7)"),
                         row("root", "linear", "/dev/a(9)"), row("home", "linear", "/dev/c(0)"),
                         row("pvmove0", "mirror", "/dev/x(0),/dev/y(0)", "/dev/x", "OTHER")});
  ASSERT_EQ(found.shares.size(), 2U);
  EXPECT_EQ(found.shares[0].pv, "/dev/a");
  EXPECT_EQ(found.shares[0].bytes, 8388608U);
  EXPECT_EQ(found.shares[1].bytes, 4194304U);
  EXPECT_FALSE(found.moving);
  EXPECT_TRUE(found.others.empty());
  EXPECT_EQ(found.strange, "");
}

TEST(VolumeSegments, a_move_is_known_plain_and_atomic) {
  const auto plain =
      of({row("root", "linear", "pvmove0(0)"), row("[pvmove0]", "mirror", "/dev/a(0),/dev/b(0)", "/dev/a")});
  ASSERT_TRUE(plain.moving);
  EXPECT_EQ(plain.moving->from, "/dev/a");
  EXPECT_EQ(plain.moving->to, std::vector<std::string>{"/dev/b"});
  EXPECT_TRUE(plain.shares.empty());
  const auto atomic = of({row("root", "linear", "pvmove0(0)"),
                          row("[pvmove0]", "mirror", "pvmove0_mimage_0(0),pvmove0_mimage_1(0)", "/dev/a"),
                          row("[pvmove0_mimage_0]", "linear", "/dev/a(0)"),
                          row("[pvmove0_mimage_1]", "linear", "/dev/b(0)")});
  ASSERT_TRUE(atomic.moving);
  EXPECT_EQ(atomic.moving->to, std::vector<std::string>{"/dev/b"});
  EXPECT_TRUE(atomic.others.empty());
}

TEST(VolumeSegments, moves_of_others_and_volumes_that_are_not_linear_are_told) {
  const auto found = of({row("root", "striped", "/dev/a(0),/dev/b(0)"), row("home", "linear", "pvmove0(0)"),
                         row("[pvmove0]", "mirror", "/dev/a(5),/dev/b(5)", "/dev/a")});
  EXPECT_FALSE(found.moving);
  ASSERT_EQ(found.others.size(), 1U);
  EXPECT_EQ(found.others[0].from, "/dev/a");
  EXPECT_EQ(found.strange, "striped");
  // A volume that the user named so is none of lvm2's moves, and rings do not hang.
  EXPECT_EQ(of({row("root", "linear", "pvmoves(0)")}).strange, "linear");
  EXPECT_TRUE(of({row("root", "linear", "pvmove0(0)"), row("[pvmove0]", "mirror", "pvmove0(0)", "/dev/a")})
                  .moving->to.empty());
  EXPECT_THROW(parse_segments("{"), Error);
}

}  // namespace
}  // namespace respaldo::engine
