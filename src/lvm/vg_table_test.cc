#include "lvm/texts_test.h"
#include "lvm/volume_group.h"

namespace respaldo::lvm {
namespace {

dm::Table table_of(const VolumeGroup& vg, std::string_view lv, std::string_view layer = "") {
  const LogicalVolume* found = vg.find_lv(lv);
  if (found == nullptr) throw Error(ErrorKind::not_found, std::string(lv));
  return vg.table(*found, layer);
}
template <class T>
T only(const dm::Table& table) {
  EXPECT_EQ(table.size(), 1U);
  return std::get<T>(table.at(0).target);
}
std::string pv(unsigned number) { return "pv:" + Uuid::parse(uuid(2000 + number))->plain(); }

TEST(VgTable, linear_segments_are_places_on_pvs) {
  const VolumeGroup vg = VolumeGroup::parse(
      group_with("l {\nid = \"" + uuid(1) +
                 "\"\nstatus = []\nsegment_count = 2\nsegment1 {\nstart_extent = 0\nextent_count = 2\n" +
                 linear_keys("pv0", 5) + "\n}\nsegment2 {\nstart_extent = 2\nextent_count = 3\n" +
                 linear_keys("pv1", 0) + "\n}\n}\n"));
  EXPECT_EQ(table_of(vg, "l"), (dm::Table{{0, 2 * 8192, dm::LinearTarget{{pv(0), 2048 + 5 * 8192}}},
                                          {2 * 8192, 3 * 8192, dm::LinearTarget{{pv(1), 4096}}}}));
}

TEST(VgTable, stripes_keep_their_order_and_chunk) {
  const VolumeGroup vg = VolumeGroup::parse(group_with(lv_text(
      "s", 1, 4,
      "type = \"striped\"\nstripe_count = 2\nstripe_size = 128\nstripes = [\"pv1\", 3, \"pv0\", 1]")));
  EXPECT_EQ(
      table_of(vg, "s"),
      (dm::Table{{0, 4 * 8192, dm::StripedTarget{128, {{pv(1), 4096 + 3 * 8192}, {pv(0), 2048 + 8192}}}}}));
}

TEST(VgTable, error_zero_and_unknown_types) {
  const VolumeGroup vg = VolumeGroup::parse(group_with(lv_text("e", 1, 1, "type = \"error\"") +
                                                       lv_text("z", 2, 2, "type = \"zero\"") +
                                                       lv_text("u", 3, 3, "type = \"teleport\"")));
  EXPECT_EQ(table_of(vg, "e"), (dm::Table{{0, 8192, dm::ErrorTarget{}}}));
  EXPECT_EQ(table_of(vg, "z"), (dm::Table{{0, 2 * 8192, dm::ZeroTarget{}}}));
  EXPECT_EQ(only<dm::UnsupportedTarget>(table_of(vg, "u")).type, "teleport");
}

TEST(VgTable, arrays_name_their_legs) {
  const VolumeGroup vg = VolumeGroup::parse(real_text("vg0.vg"));
  const auto raid5 = only<dm::RaidTarget>(table_of(vg, "raid5"));
  EXPECT_EQ(raid5.level, dm::RaidLevel::raid5_ls);
  EXPECT_EQ(raid5.chunk, 32U);
  ASSERT_EQ(raid5.legs.size(), 4U);
  EXPECT_EQ(raid5.legs[2].metadata, "vg0-raid5_rmeta_2");
  EXPECT_EQ(raid5.legs[2].data, "vg0-raid5_rimage_2");
  EXPECT_FALSE(raid5.legs[2].out_of_sync);
  EXPECT_EQ(only<dm::RaidTarget>(table_of(vg, "raid5n")).level, dm::RaidLevel::raid5_n);
  EXPECT_EQ(only<dm::RaidTarget>(table_of(vg, "raid4")).level, dm::RaidLevel::raid4);
  EXPECT_EQ(only<dm::RaidTarget>(table_of(vg, "raid10")).copies, 2U);
  const auto raid0 = only<dm::RaidTarget>(table_of(vg, "raid0"));
  EXPECT_EQ(raid0.level, dm::RaidLevel::raid0);
  EXPECT_FALSE(raid0.legs.at(0).metadata);
  const auto raid1 = only<dm::RaidTarget>(table_of(vg, "raid1"));
  EXPECT_EQ(raid1.chunk, 0U);
  // lvcreate --nosync: only the first leg is sure to be right.
  EXPECT_EQ(only<dm::MirrorTarget>(table_of(vg, "mirror")).legs.size(), 1U);
  const VolumeGroup mixed = VolumeGroup::parse(real_text("mixed.vg"));
  EXPECT_EQ(only<dm::MirrorTarget>(table_of(mixed, "m2")).legs.size(), 2U);
}

TEST(VgTable, legs_that_are_rebuilt_are_not_read) {
  std::string text = real_text("vg0.vg");
  const auto at = text.find("status", text.find("raid1_rimage_1 {"));
  text.replace(at, text.find(']', at) + 1 - at, "status = [\"READ\", \"WRITE\", \"REBUILD\"]");
  const VolumeGroup vg = VolumeGroup::parse(text);
  const auto raid1 = only<dm::RaidTarget>(table_of(vg, "raid1"));
  EXPECT_FALSE(raid1.legs.at(0).out_of_sync);
  EXPECT_TRUE(raid1.legs.at(1).out_of_sync);
}

TEST(VgTable, layouts_that_nobody_proved_are_refused) {
  std::string text = real_text("vg0.vg");
  const std::string type = "type = \"raid5_n\"";
  ASSERT_NE(text.find(type), std::string::npos);
  text.replace(text.find(type), type.size(), "type = \"raid5_ra\"");
  const VolumeGroup vg = VolumeGroup::parse(text);
  EXPECT_EQ(only<dm::UnsupportedTarget>(table_of(vg, "raid5n")).type, "raid5_ra");
}

TEST(VgTable, origins_and_snapshots_have_layers) {
  const VolumeGroup vg = VolumeGroup::parse(real_text("six.vg"));
  EXPECT_EQ(only<dm::SnapshotOriginTarget>(table_of(vg, "origin")).origin, "six-origin-real");
  EXPECT_TRUE(std::holds_alternative<dm::LinearTarget>(table_of(vg, "origin", "real").at(0).target));
  const dm::Table snapshot = table_of(vg, "snap64k");
  EXPECT_EQ(snapshot,
            (dm::Table{{0, 12 * 2048, dm::SnapshotTarget{"six-origin-real", "six-snap64k-cow", 128}}}));
  EXPECT_EQ(table_of(vg, "snap64k", "cow").at(0).length, 8U * 2048);
}

TEST(VgTable, a_merging_snapshot_is_the_origins_upper_half) {
  std::string lvs =
      linear("o", 1, 10, "pv1", 0) + linear("c", 2, 10, "pv0", 0) +
      lv_text("snapshot0", 3, 10,
              "type = \"snapshot\"\nchunk_size = 16\norigin = \"o\"\nmerging_store = \"c\"", "\"READ\"");
  const VolumeGroup vg = VolumeGroup::parse(group_with(lvs));
  EXPECT_EQ(table_of(vg, "o"),
            (dm::Table{{0, 10 * 8192, dm::SnapshotMergeTarget{"vg-o-real", "vg-c-cow", 16}}}));
  EXPECT_EQ(table_of(vg, "c"), (dm::Table{{0, 10 * 8192, dm::ErrorTarget{}}}));
}

TEST(VgTable, thin_volumes_point_at_the_pool_below) {
  const VolumeGroup vg = VolumeGroup::parse(real_text("vg0.vg"));
  const auto pool = only<dm::ThinPoolTarget>(table_of(vg, "pool", "tpool"));
  EXPECT_EQ(pool.metadata, "vg0-pool_tmeta");
  EXPECT_EQ(pool.data, "vg0-pool_tdata");
  EXPECT_EQ(only<dm::ThinTarget>(table_of(vg, "outside")).external_origin, "vg0-base");
  EXPECT_EQ(only<dm::ThinTarget>(table_of(vg, "thin_snap")).pool, "vg0-pool-tpool");
}

TEST(VgTable, a_move_reads_where_the_data_still_is) {
  const VolumeGroup vg = VolumeGroup::parse(group_with(
      linear("l", 1, 10, "pvmove0", 0) + lv_text("pvmove0", 2, 10,
                                                 "type = \"mirror\"\nmirror_count = 2\nextents_moved = "
                                                 "3\nregion_size = 1024\nmirrors = [\"pv0\", 4, \"pv1\", 0]",
                                                 "\"READ\", \"WRITE\", \"PVMOVE\", \"LOCKED\"")));
  EXPECT_EQ(table_of(vg, "l"), (dm::Table{{0, 10 * 8192, dm::LinearTarget{{"vg-pvmove0", 0}}}}));
  const auto mirror = only<dm::MirrorTarget>(table_of(vg, "pvmove0"));
  EXPECT_EQ(mirror.legs, (std::vector<dm::DeviceRef>{{pv(0), 2048 + 4 * 8192}}));
}

TEST(VgTable, a_volume_without_segments_has_an_empty_table) {
  const VolumeGroup vg = VolumeGroup::parse(group_with(
      "o {\nid = \"" + uuid(1) + "\"\nstatus = []\nsegment_count = 0\n}\n" + linear("c", 2, 10, "pv0", 0) +
      lv_text("snapshot0", 3, 10,
              "type = \"snapshot\"\nchunk_size = 16\norigin = \"o\"\ncow_store = \"c\"")));
  EXPECT_TRUE(table_of(vg, "o").empty());
}

TEST(VgTable, caches_are_known_by_name_only) {
  const VolumeGroup vg = VolumeGroup::parse(real_text("mixed.vg"));
  EXPECT_EQ(only<dm::UnsupportedTarget>(table_of(vg, "cached")).type, "cache");
  EXPECT_EQ(only<dm::UnsupportedTarget>(table_of(vg, "wc")).type, "writecache");
  EXPECT_TRUE(std::holds_alternative<dm::LinearTarget>(table_of(vg, "cached_corig").at(0).target));
  EXPECT_EQ(error_of([&] { table_of(vg, "cached", "elsewhere"); }).kind(), ErrorKind::corrupt);
}

}  // namespace
}  // namespace respaldo::lvm
