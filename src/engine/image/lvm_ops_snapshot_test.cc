// Thick snapshots made, paired, split and merged on images.
#include "dm/cow_store.h"
#include "engine/image/lvm_ops_fixture_test.h"

namespace respaldo::engine {
namespace {

using ::testing::HasSubstr;

class Snapshots : public LvmOps {
 protected:
  Snapshots() {
    make_group(2);
    make_lv("root", 8);
    original_ = fill("root", 1);
  }

  // Writes to the origin while its snapshots watch.
  void overwrite(std::uint64_t offset, std::uint64_t length, std::uint64_t seed) {
    const lvm::VolumeGroup& vg = group().vg;
    dm::SnapshotSet live(layer("root"));
    for (const auto& one : vg.snapshots_of(*lv("root")))
      live.add(one.cow->name, layer(one.cow->name, "cow"), one.virtual_extents * vg.extent_bytes(),
               one.chunk_sectors * kSector);
    const auto origin = live.origin_device();
    origin->write_at(offset, testing_bytes(length, seed));
    origin->flush();
  }
  dm::CowStore store(const std::string& name) {
    return dm::CowStore::load(*disks().open_layer(group(), *lv(name), "cow"), 4096);
  }
  void merge(const std::string& name, std::stop_token stop = {}) {
    OpContext op = context();
    op.stop = std::move(stop);
    merge_snapshot(op, {"vg0", name});
  }

  std::string original_;
};

TEST_F(Snapshots, a_snapshot_shows_what_the_origin_was) {
  make_snapshot("root", "snap", 10);
  EXPECT_TRUE(seen("snap") == original_);
  overwrite(kMiB, 2 * kMiB, 2);
  EXPECT_TRUE(seen("root") != original_);
  EXPECT_TRUE(seen("snap") == original_);
  EXPECT_EQ(reopened().group("vg0").vg.snapshots_of(*lv("root")).size(), 1U);
}

TEST_F(Snapshots, none_is_made_of_a_volume_on_a_missing_pv) {
  make_lv("far", 4, {"b.img"});
  lvm::VolumeGroup next = group().vg;
  next.pvs.at(1).flags.emplace_back("MISSING");
  disks().commit("vg0", std::move(next), "test");
  const std::uint64_t seqno = group().vg.seqno;
  EXPECT_EQ(error_of([&] { make_snapshot("far", "snap", 4); }).kind(), ErrorKind::missing);
  EXPECT_EQ(reopened().group("vg0").vg.seqno, seqno);
  make_snapshot("root", "snap", 10);
}

TEST_F(Snapshots, a_store_begins_empty_whatever_lay_there) {
  make_snapshot("root", "old", 6);
  overwrite(0, kMiB, 3);
  ASSERT_GT(store("old").status().exceptions, 0U);
  OpContext op = context();
  remove_lv(op, {"vg0", "old"});
  const std::string now = seen("root");
  make_snapshot("root", "young", 6);
  EXPECT_EQ(store("young").status().exceptions, 0U);
  EXPECT_TRUE(seen("young") == now);
}

TEST_F(Snapshots, a_store_is_as_large_as_was_asked_and_more_than_enough_is_said) {
  make_snapshot("root", "snap", 20);
  EXPECT_EQ(lv("snap")->extents(), 20U);
  EXPECT_THAT(out_,
              HasSubstr("COW size 20.00 MiB is more than this snapshot can ever use: 9.00 MiB would do."));
}

TEST_F(Snapshots, percents_of_the_origin_count_what_the_store_needs_for_itself) {
  SnapshotRequest request;
  request.store.vg = "vg0";
  request.store.name = "snap";
  request.store.size = {SizeSign::none, SizeBase::origin, 100};
  request.origin = "root";
  OpContext op = context();
  create_snapshot(op, request);
  EXPECT_EQ(lv("snap")->extents(), 9U);
  EXPECT_EQ(cow_maximum_extents(group().vg, 8, 4096), 9U);
}

TEST_F(Snapshots, chunks_are_powers_of_two_within_bounds) {
  for (const std::uint64_t chunk : {2048ULL, 5000ULL, 12288ULL, 1048576ULL})
    EXPECT_THAT(error_of([&] { make_snapshot("root", "snap", 4, chunk); }).what(), HasSubstr("Chunk size"))
        << chunk;
  make_snapshot("root", "snap", 4, 512 * kKiB);
  EXPECT_EQ(group().vg.snapshot_binding(*lv("snap"))->chunk_sectors, 1024U);
  EXPECT_TRUE(seen("snap") == original_);
}

TEST_F(Snapshots, there_are_no_snapshots_of_snapshots) {
  make_snapshot("root", "snap", 4);
  EXPECT_THAT(error_of([&] { make_snapshot("snap", "again", 4); }).what(),
              HasSubstr("Snapshots of snapshots are not supported."));
  EXPECT_THAT(error_of([&] { make_snapshot("none", "again", 4); }).what(),
              HasSubstr("Snapshot origin LV none not found in Volume group vg0."));
}

TEST_F(Snapshots, snapshots_go_with_their_origin_in_one_step) {
  make_snapshot("root", "one", 4);
  make_snapshot("root", "two", 4);
  const std::uint64_t seqno = group().vg.seqno;
  OpContext op = context();
  remove_lv(op, {"vg0", "root"});
  EXPECT_EQ(reopened().group("vg0").vg.seqno, seqno + 1);
  EXPECT_TRUE(group().vg.lvs.empty());
}

TEST_F(Snapshots, an_origin_is_not_resized_and_a_store_not_reduced) {
  make_snapshot("root", "snap", 4);
  EXPECT_THAT(error_of([&] { resize("root", SizeSign::plus, 1); }).what(), HasSubstr("Snapshot origin"));
  EXPECT_THAT(error_of([&] { resize("snap", SizeSign::minus, 1); }).what(),
              HasSubstr("store is not reduced"));
  resize("snap", SizeSign::plus, 2);
  EXPECT_EQ(lv("snap")->extents(), 6U);
  overwrite(0, 4 * kMiB + 512 * kKiB, 4);
  EXPECT_TRUE(seen("snap") == original_);
}

TEST_F(Snapshots, a_merge_brings_the_origin_back) {
  make_snapshot("root", "snap", 10);
  overwrite(100 * kKiB, 3 * kMiB, 5);
  merge("snap");
  EXPECT_THAT(out_, HasSubstr("vg0/root: Merged: 100.00%"));
  EXPECT_EQ(reopened().group("vg0").vg.find_lv("snap"), nullptr);
  EXPECT_TRUE(seen("root") == original_);
}

TEST_F(Snapshots, a_merge_that_was_stopped_shows_its_end_at_once_and_goes_on) {
  make_snapshot("root", "snap", 10);
  // Apart from each other, so that there are many steps.
  for (std::uint64_t at = 0; at < 4 * kMiB; at += 64 * kKiB) overwrite(at, 4096, at + 8);
  std::stop_source stop;
  stop.request_stop();
  OpContext op = context();
  op.stop = stop.get_token();
  EXPECT_THROW(merge_snapshot(op, {"vg0", "snap"}), Cancelled);
  reopened();
  ASSERT_NE(lv("snap"), nullptr);
  EXPECT_TRUE(group().vg.snapshot_binding(*lv("snap"))->merging);
  EXPECT_TRUE(seen("root") == original_);
  OpContext other = context();
  EXPECT_THAT(error_of([&] { remove_lv(other, {"vg0", "snap"}); }).what(), HasSubstr("merging snapshot"));
  EXPECT_THAT(error_of([&] { make_snapshot("root", "more", 2); }).what(), HasSubstr("merging snapshot"));
  merge("snap");
  EXPECT_EQ(reopened().group("vg0").vg.find_lv("snap"), nullptr);
  EXPECT_TRUE(seen("root") == original_);
}

TEST_F(Snapshots, a_snapshot_that_overflowed_is_not_merged) {
  make_snapshot("root", "snap", 1);
  overwrite(0, 6 * kMiB, 9);
  ASSERT_FALSE(store("snap").status().valid);
  const std::string now = seen("root");
  EXPECT_EQ(error_of([&] { merge("snap"); }).kind(), ErrorKind::overflow);
  EXPECT_FALSE(reopened().group("vg0").vg.snapshot_binding(*lv("snap"))->merging);
  EXPECT_TRUE(seen("root") == now);
}

TEST_F(Snapshots, a_split_store_is_a_volume_and_pairs_again_with_all_it_holds) {
  make_snapshot("root", "snap", 10);
  overwrite(0, kMiB, 10);
  const std::uint64_t exceptions = store("snap").status().exceptions;
  OpContext op = context();
  split_snapshot(op, {"vg0", "snap"});
  EXPECT_TRUE(reopened().group("vg0").vg.find_lv("snap")->visible());
  OpContext again = context();
  pair_existing(again, {"vg0", "root"}, "snap", 4096, false);
  EXPECT_EQ(store("snap").status().exceptions, exceptions);
  EXPECT_TRUE(seen("snap") == original_);
}

TEST_F(Snapshots, a_volume_that_becomes_a_store_is_emptied_after_a_yes) {
  make_lv("other", 4);
  const std::string data = fill("other", 11);
  answer_ = false;
  OpContext op = context();
  EXPECT_THAT(error_of([&] {
                pair_existing(op, {"vg0", "root"}, "other", 4096, true);
              }).what(),
              HasSubstr("Conversion aborted"));
  EXPECT_TRUE(seen("other") == data);
  answer_ = true;
  pair_existing(op, {"vg0", "root"}, "other", 4096, true);
  EXPECT_TRUE(seen("other") == original_);
  OpContext self = context();
  EXPECT_EQ(error_of([&] {
              pair_existing(self, {"vg0", "root"}, "root", 4096, false);
            }).kind(),
            ErrorKind::refused);
}

}  // namespace
}  // namespace respaldo::engine
