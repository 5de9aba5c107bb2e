#include <gtest/gtest.h>

#include <set>

#include "lvm/volume_group.h"

namespace respaldo::lvm {
namespace {

TEST(Names, uuids_have_dashes_in_text_and_none_on_disk) {
  const auto id = Uuid::parse("k4FCjQ-bpwW-1nk5-fcff-QEQC-7sBY-0efcaE");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->plain(), "k4FCjQbpwW1nk5fcffQEQC7sBY0efcaE");
  EXPECT_EQ(id->dashed(), "k4FCjQ-bpwW-1nk5-fcff-QEQC-7sBY-0efcaE");
  EXPECT_EQ(Uuid::parse(id->plain()), id);
  EXPECT_TRUE(Uuid::parse("!#FCjQ-bpwW-1nk5-fcff-QEQC-7sBY-0efcaE"));
  EXPECT_FALSE(Uuid::parse("k4FCjQ-bpwW-1nk5-fcff-QEQC-7sBY-0efca"));
  EXPECT_FALSE(Uuid::parse("k4FCjQ-bpwW-1nk5-fcff-QEQC-7sBY-0efcaEE"));
  EXPECT_FALSE(Uuid::parse("k4FCjQ-bpwW-1nk5-fcff-QEQC-7sBY-0efc/E"));
  EXPECT_FALSE(Uuid::parse(""));
  EXPECT_EQ(Uuid().dashed(), "");
}

TEST(Names, random_uuids_are_well_formed_and_differ) {
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) {
    const Uuid id = Uuid::random();
    EXPECT_EQ(Uuid::parse(id.dashed()), id);
    EXPECT_TRUE(seen.insert(id.plain()).second);
  }
}

TEST(Names, hyphens_are_doubled_for_device_mapper) {
  EXPECT_EQ(dm_name("my-vg", "a.b+c_d--e"), "my--vg-a.b+c_d----e");
  EXPECT_EQ(dm_name("vg", "lv", "real"), "vg-lv-real");
  EXPECT_EQ(dm_name("vg", "lv-", "tpool"), "vg-lv---tpool");
}

TEST(Names, device_mapper_names_are_taken_apart_again) {
  for (const auto& [vg, lv, layer] :
       {std::tuple{"vg", "lv", ""}, {"a-b", "c--d", "real"}, {"a-", "b-", "x-y"}}) {
    const auto name = parse_dm_name(dm_name(vg, lv, layer));
    ASSERT_TRUE(name);
    EXPECT_EQ(name->vg, vg);
    EXPECT_EQ(name->lv, lv);
    EXPECT_EQ(name->layer, layer);
  }
  for (const char* bad : {"", "vg", "vg-", "-lv", "vg--lv", "a-b-c-d", "vg-lv-"})
    EXPECT_FALSE(parse_dm_name(bad)) << bad;
}

TEST(Names, group_names_follow_the_rules_of_lvm2) {
  for (const char* good : {"vg0", "a", "_x", "+a.b-c", "..."}) EXPECT_FALSE(vg_name_problem(good)) << good;
  for (const char* bad : {"", ".", "..", "-vg", "a b", "a/b", "\xc3\xa9", "a\n"})
    EXPECT_TRUE(vg_name_problem(bad)) << bad;
  EXPECT_FALSE(vg_name_problem(std::string(127, 'a')));
  EXPECT_TRUE(vg_name_problem(std::string(128, 'a')));
}

TEST(Names, volume_names_must_not_look_like_hidden_ones) {
  for (const char* good : {"root", "snap", "my_snapshot", "tmeta", "lvol0"})
    EXPECT_FALSE(lv_name_problem("vg", good)) << good;
  for (const char* bad :
       {"snapshot0", "pvmove1", "x_tmeta", "a_rimage_0", "lvol0_pmspare", "c_cvol", "-a", ""})
    EXPECT_TRUE(lv_name_problem("vg", bad)) << bad;
  EXPECT_FALSE(lv_name_problem(std::string(62, 'v'), std::string(62, 'l')));
  EXPECT_TRUE(lv_name_problem(std::string(63, 'v'), std::string(62, 'l')));
}

}  // namespace
}  // namespace respaldo::lvm
