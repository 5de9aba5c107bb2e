// Reports recorded from lvm2 2.03.16 (tests/kernel/data): thick and thin snapshots, RAID, mirror, cache,
// names with hyphens and dots.
#include "engine/kernel/tools/lvm_rows.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "engine/kernel/tools/lvm_report.h"
#include "os/file.h"

namespace respaldo::engine {
namespace {

using testing::Contains;
using testing::ElementsAre;

std::string recorded(const std::string& name) {
  return os::read_text(RESPALDO_TEST_DATA "/kernel/data/" + name);
}

class RecordedLvs : public testing::Test {
 protected:
  const std::vector<LvRow> lvs_ = parse_lvs(recorded("lvs.json"));
  const LvRow& lv(const std::string& name) const {
    for (const LvRow& row : lvs_)
      if (row.str() == name) return row;
    throw std::runtime_error("no " + name);
  }
};

TEST_F(RecordedLvs, segments_of_a_volume_are_one_row) {
  EXPECT_EQ(lvs_.size(), 27U);
  EXPECT_THAT(lv("vg0/two").devices, ElementsAre("/dev/ubda(3)", "/dev/ubdb(0)"));
  EXPECT_THAT(lv("vg0/striped").devices, ElementsAre("/dev/ubda(8)", "/dev/ubdb(5)"));
}

TEST_F(RecordedLvs, a_thick_snapshot_tells_its_origin_and_store) {
  const LvRow& snap = lv("vg0/snap");
  EXPECT_TRUE(snap.is_thick_snapshot());
  EXPECT_TRUE(snap.is_snapshot());
  EXPECT_TRUE(snap.is_active());
  EXPECT_EQ(snap.origin, "root");
  EXPECT_EQ(snap.origin_uuid, lv("vg0/root").uuid);
  EXPECT_EQ(snap.size, 8U << 20);
  EXPECT_EQ(snap.origin_size, 12U << 20);
  EXPECT_EQ(snap.chunk_size, 4096U);
  EXPECT_EQ(snap.data_percent_x100, 7539U);
  EXPECT_TRUE(snap.has_tag("respaldo_run_0123"));
  EXPECT_FALSE(snap.snapshot_invalid);
  EXPECT_TRUE(lv("vg0/small").snapshot_invalid);
  EXPECT_FALSE(lv("vg0/root").snapshot_invalid) << "'unknown' is no";
  EXPECT_TRUE(lv("vg0/root").has_role("thickorigin"));
}

TEST_F(RecordedLvs, thin_volumes_tell_pool_and_number) {
  const LvRow& thin = lv("vg0/thinsnap");
  EXPECT_TRUE(thin.is_thin_volume());
  EXPECT_TRUE(thin.is_snapshot());
  EXPECT_FALSE(thin.is_thick_snapshot());
  EXPECT_FALSE(thin.is_active());
  EXPECT_TRUE(thin.skip_activation);
  EXPECT_EQ(thin.origin, "thin");
  EXPECT_EQ(thin.pool, "pool");
  EXPECT_EQ(thin.thin_id, 2U);
  const LvRow& pool = lv("vg0/pool");
  EXPECT_TRUE(pool.is_pool());
  EXPECT_FALSE(pool.is_public());
  EXPECT_EQ(pool.uuid, thin.pool_uuid);
  EXPECT_EQ(pool.metadata_lv, "pool_tmeta");
  EXPECT_EQ(pool.transaction_id, 2U);
  EXPECT_EQ(pool.metadata_percent_x100, 1094U);
}

TEST_F(RecordedLvs, names_with_hyphens_and_dots) {
  const LvRow& lv0 = lv("my-vg.a/a-b.c");
  EXPECT_EQ(lv0.dm_path, "/dev/mapper/my--vg.a-a--b.c");
  EXPECT_TRUE(lv0.open);
  EXPECT_FALSE(lv("my-vg.a/off").is_active());
  EXPECT_FALSE(lv("my-vg.a/off").kernel_minor);
  EXPECT_EQ(lv0.kernel_minor, 25U);
}

TEST_F(RecordedLvs, parts_of_volumes_are_hidden_and_not_public) {
  EXPECT_TRUE(lv("vg0/r1_rimage_0").hidden);
  EXPECT_FALSE(lv("vg0/r1_rimage_0").is_public());
  EXPECT_FALSE(lv("vg0/cached").is_snapshot()) << "a cache has an origin, too";
  EXPECT_EQ(lv("vg0/cached").segment_type, "cache");
  EXPECT_EQ(lv("vg0/m1").copy_percent_x100, 10000U);
}

TEST(RecordedVgs, sizes_and_tags) {
  const auto vgs = parse_vgs(recorded("vgs.json"));
  ASSERT_EQ(vgs.size(), 2U);
  EXPECT_EQ(vgs[0].name, "my-vg.a");
  EXPECT_THAT(vgs[0].tags, ElementsAre("nightly", "second"));
  EXPECT_EQ(vgs[1].free, 452984832U);
  EXPECT_EQ(vgs[1].extent_size, 4U << 20);
  EXPECT_EQ(vgs[1].pv_count, 4U);
  EXPECT_TRUE(vgs[1].writable);
  EXPECT_FALSE(vgs[1].partial);
}

TEST(RecordedPvs, with_and_without_a_group) {
  const auto pvs = parse_pvs(recorded("pvs.json"));
  ASSERT_EQ(pvs.size(), 6U);
  EXPECT_EQ(pvs[0].name, "/dev/ubda");
  EXPECT_EQ(pvs[0].vg, "vg0");
  EXPECT_EQ(pvs[0].data_start, 1U << 20);
  EXPECT_TRUE(pvs[0].allocatable);
  EXPECT_EQ(pvs[5].vg, "");
  EXPECT_EQ(pvs[5].device_size, 160U << 20);
}

TEST(LvmReport, nothing_found_is_an_empty_report) {
  EXPECT_TRUE(parse_lvs(recorded("nothing.json")).empty());
}

TEST(LvmReport, values_are_checked_before_they_are_trusted) {
  const LvmRow row({{"size", "12x"}, {"percent", "101.x"}, {"minor", "-1"}, {"none", ""}});
  EXPECT_THROW((void)row.number("size"), Error);
  EXPECT_THROW((void)row.percent_x100("percent"), Error);
  EXPECT_FALSE(row.number("minor"));
  EXPECT_FALSE(row.number("none"));
  EXPECT_FALSE(row.number("never asked"));
}

TEST(LvmReport, what_is_no_report_is_an_error) {
  for (const char* text : {"", "{", "[]", "{\"report\":1}", "{\"report\":[1]}", "{\"report\":[{\"lv\":1}]}",
                           "{\"report\":[{\"lv\":[1]}]}", "{\"report\":[{\"lv\":[{\"lv_name\":{}}]}]}"})
    EXPECT_THROW((void)parse_lvs(text), Error) << text;
}

}  // namespace
}  // namespace respaldo::engine
