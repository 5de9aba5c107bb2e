#include "dm/table.h"

#include <gtest/gtest.h>

namespace respaldo::dm {
namespace {

TEST(Table, text_is_what_dmsetup_table_prints) {
  const Table table{
      {0, 8, LinearTarget{{"pv:a", 2048}}},
      {8, 64, StripedTarget{16, {{"pv:a", 4096}, {"pv:b", 2048}}}},
      {72, 8, ErrorTarget{}},
      {80, 8, ZeroTarget{}},
      {88, 8, MirrorTarget{1024, {{"m0", 0}, {"m1", 0}}}},
      {96, 8,
       RaidTarget{RaidLevel::raid5_ls,
                  128,
                  4096,
                  2,
                  {{"r0m", "r0", false}, {"r1m", "r1", true}, {{}, "r2", false}}}},
      {104, 8, SnapshotOriginTarget{"vg-o-real"}},
      {112, 8, SnapshotTarget{"vg-o-real", "vg-s-cow", 8}},
      {120, 8, SnapshotMergeTarget{"vg-o-real", "vg-s-cow", 8}},
      {128, 8, ThinPoolTarget{"tmeta", "tdata", 128, 3}},
      {136, 8, ThinTarget{"pool", 7, "ext"}},
      {144, 8, UnsupportedTarget{"cache", "not proven clean"}},
  };
  EXPECT_EQ(to_text(table),
            "0 8 linear pv:a 2048\n"
            "8 64 striped 2 16 pv:a 4096 pv:b 2048\n"
            "72 8 error\n"
            "80 8 zero\n"
            "88 8 mirror core 1 1024 2 m0 0 m1 0\n"
            "96 8 raid raid5_ls 5 128 rebuild 1 region_size 4096 3 r0m r0 r1m r1 - r2\n"
            "104 8 snapshot-origin vg-o-real\n"
            "112 8 snapshot vg-o-real vg-s-cow P 8\n"
            "120 8 snapshot-merge vg-o-real vg-s-cow P 8\n"
            "128 8 thin-pool tmeta tdata 128 0 0\n"
            "136 8 thin pool 7 ext\n"
            "144 8 cache\n");
}

}  // namespace
}  // namespace respaldo::dm
