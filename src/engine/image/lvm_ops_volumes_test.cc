// Layouts, names, attributes, and what the operations refuse.
#include "base/units.h"
#include "engine/image/lvm_ops_fixture_test.h"
#include "os/process.h"

namespace respaldo::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

SizeSpec extents(std::uint64_t count) { return {SizeSign::none, SizeBase::extents, count}; }

TEST(PlanPv, data_begins_at_the_first_mebibyte) {
  const lvm::PvLabel label = plan_pv(64 * kMiB, {});
  EXPECT_EQ(label.data_offset, kMiB);
  ASSERT_EQ(label.metadata_areas.size(), 1U);
  EXPECT_EQ(label.metadata_areas.front(), (Extent{4096, kMiB - 4096}));
}

TEST(PlanPv, alignment_moves_the_data_and_grows_the_area) {
  PvFormat format;
  format.data_alignment = 2 * kMiB;
  format.metadata_size = 4 * kMiB;
  const lvm::PvLabel label = plan_pv(64 * kMiB, format);
  EXPECT_EQ(label.data_offset, 6 * kMiB);
  EXPECT_EQ(label.metadata_areas.front().end(), 6 * kMiB);
}

TEST(PlanPv, a_second_area_lies_at_the_end) {
  PvFormat format;
  format.metadata_copies = 2;
  const lvm::PvLabel label = plan_pv(64 * kMiB, format);
  ASSERT_EQ(label.metadata_areas.size(), 2U);
  EXPECT_EQ(label.metadata_areas.back().end(), 64 * kMiB);
}

TEST(PlanPv, what_does_not_fit_is_refused) {
  const auto plan = [](std::uint64_t size, const PvFormat& format) {
    try {
      plan_pv(size, format);
      return false;
    } catch (const Error&) {
      return true;
    }
  };
  EXPECT_TRUE(plan(kMiB, {}));
  PvFormat large;
  large.data_alignment = 128 * kMiB;
  EXPECT_TRUE(plan(64 * kMiB, large));
  PvFormat odd;
  odd.data_alignment = 1000;
  EXPECT_TRUE(plan(64 * kMiB, odd));
}

TEST_F(LvmOps, a_group_is_made_of_bare_images_and_found_by_others) {
  make_group();
  EXPECT_THAT(out_, HasSubstr("Volume group \"vg0\" successfully created"));
  EXPECT_EQ(reopened().group("vg0").vg.pvs.size(), 2U);
  EXPECT_EQ(group().vg.extent_bytes(), kMiB);
  EXPECT_TRUE(disks().warnings().empty());
}

TEST_F(LvmOps, a_filesystem_is_not_overwritten_without_a_yes) {
  const os::Path image = add_image("a.img");
  ASSERT_EQ(os::run_command({"mke2fs", "-q", "-F", image.native()}).exit_code, 0);
  const std::string before = everything();
  answer_ = false;
  OpContext op = context();
  EXPECT_THAT(error_of([&] { create_pvs(op, {"a.img"}, {}); }).what(), HasSubstr("Aborted wiping of ext2"));
  EXPECT_THAT(asked_, ElementsAre(HasSubstr("ext2 signature detected on a.img")));
  EXPECT_TRUE(everything() == before);
  answer_ = true;
  OpContext again = context();
  create_pvs(again, {"a.img"}, {});
  EXPECT_EQ(reopened().pvs().size(), 1U);
}

TEST_F(LvmOps, a_pv_of_a_group_is_neither_initialised_nor_removed) {
  make_group();
  const std::string before = everything();
  OpContext op = context();
  op.force = 2;
  EXPECT_THAT(error_of([&] { create_pvs(op, {"a.img"}, {}); }).what(), HasSubstr("of volume group \"vg0\""));
  EXPECT_THAT(error_of([&] { remove_pvs(op, {"a.img"}); }).what(), HasSubstr("is used by VG vg0"));
  GroupOptions options;
  EXPECT_THAT(error_of([&] { create_group(op, "other", {"b.img"}, options); }).what(),
              HasSubstr("already in volume group 'vg0'"));
  EXPECT_TRUE(everything() == before);
}

TEST_F(LvmOps, test_mode_writes_nothing) {
  make_group();
  make_lv("root", 8);
  const std::string before = everything();
  const auto with_test = [&](auto body) {
    OpContext op = context();
    op.test = true;
    body(op);
  };
  LvRequest request;
  request.vg = "vg0";
  request.size = extents(4);
  with_test([&](OpContext& op) { create_lv(op, request); });
  SnapshotRequest snapshot;
  snapshot.store = request;
  snapshot.origin = "root";
  with_test([&](OpContext& op) { create_snapshot(op, snapshot); });
  with_test([&](OpContext& op) { rename_lv(op, {"vg0", "root"}, "boot"); });
  with_test([&](OpContext& op) { remove_lv(op, {"vg0", "root"}); });
  with_test([&](OpContext& op) { rename_group(op, "vg0", "vg1"); });
  MoveRequest move;
  move.source = "a.img";
  with_test([&](OpContext& op) { move_pv(op, move); });
  with_test([&](OpContext& op) { remove_group(op, "vg0"); });
  EXPECT_TRUE(everything() == before);
}

TEST_F(LvmOps, a_failure_on_the_way_leaves_the_group_as_it_was) {
  make_group();
  make_lv("root", 8);
  const std::string before = fill("root", 2);
  const std::uint64_t seqno = group().vg.seqno;
  disks().set_before_step([](std::string_view) { throw Error(ErrorKind::io, "the power went"); });
  EXPECT_EQ(error_of([&] { make_lv("more", 4); }).kind(), ErrorKind::io);
  EXPECT_EQ(reopened().group("vg0").vg.seqno, seqno);
  EXPECT_EQ(lv("more"), nullptr);
  EXPECT_TRUE(seen("root") == before);
}

TEST_F(LvmOps, names_that_lvm2_refuses_are_refused) {
  make_group();
  make_lv("root", 4);
  EXPECT_THAT(error_of([&] { make_lv("root", 1); }).what(), HasSubstr("already exists"));
  EXPECT_THAT(error_of([&] { make_lv("a b", 1); }).what(), HasSubstr("\"a b\" is invalid"));
  EXPECT_THAT(error_of([&] { make_lv("snapshot1", 1); }).what(), HasSubstr("Names starting \"snapshot\""));
  EXPECT_THAT(error_of([&] { make_lv("x_rimage_0", 1); }).what(), HasSubstr("Names including \"_rimage\""));
  OpContext op = context();
  EXPECT_THAT(error_of([&] { rename_lv(op, {"vg0", "root"}, "a/b"); }).what(), HasSubstr("is invalid"));
  EXPECT_THAT(error_of([&] { rename_group(op, "vg0", "a b"); }).what(), HasSubstr("is invalid"));
}

TEST_F(LvmOps, unnamed_volumes_are_numbered) {
  make_group();
  make_lv("", 1);
  make_lv("", 1);
  EXPECT_NE(lv("lvol0"), nullptr);
  EXPECT_NE(lv("lvol1"), nullptr);
}

TEST_F(LvmOps, more_than_there_is_cannot_be_had) {
  make_group(1);
  EXPECT_THAT(error_of([&] { make_lv("big", 64); }).what(),
              HasSubstr("has insufficient free space (63 extents): 64 required."));
  LvRequest all;
  all.vg = "vg0";
  all.name = "all";
  all.size = {SizeSign::none, SizeBase::free, 100};
  OpContext op = context();
  create_lv(op, all);
  EXPECT_EQ(lv("all")->extents(), 63U);
  all.name = "none";
  all.size = {SizeSign::none, SizeBase::vg, 200};
  OpContext more = context();
  EXPECT_THAT(error_of([&] { create_lv(more, all); }).what(), HasSubstr("0 extents. Needs to be larger"));
}

TEST_F(LvmOps, stripes_need_as_many_disks) {
  make_group(2);
  LvRequest request;
  request.vg = "vg0";
  request.name = "wide";
  request.size = extents(4);
  request.stripes = 3;
  OpContext op = context();
  EXPECT_THAT(error_of([&] { create_lv(op, request); }).what(),
              HasSubstr("Number of stripes (3) must not exceed number of physical volumes (2)"));
  request.stripes = 2;
  request.size = extents(3);
  create_lv(op, request);
  EXPECT_THAT(out_, HasSubstr("Rounding size 3.00 MiB (3 extents) up to stripe boundary size 4.00 MiB"));
  EXPECT_EQ(lv("wide")->extents(), 4U);
}

TEST_F(LvmOps, extents_come_from_where_it_was_said) {
  make_group();
  make_lv("there", 4, {"b.img:10-11:20-21"});
  const auto segments = lv("there")->segments;
  ASSERT_EQ(segments.size(), 2U);
  EXPECT_EQ(std::get<lvm::StripedSegment>(segments[0].body).areas.front().extent, 10U);
  EXPECT_EQ(std::get<lvm::StripedSegment>(segments[1].body).areas.front().extent, 20U);
  for (const char* wrong : {"b.img:5-4", "b.img:0-1000", "b.img:x", "b.img:1+0"})
    EXPECT_THAT(error_of([&] { make_lv("nowhere", 1, {wrong}); }).what(), HasSubstr("PE range error"))
        << wrong;
  EXPECT_THAT(error_of([&] { make_lv("nowhere", 1, {"c.img"}); }).what(),
              HasSubstr("\"c.img\" not found in Volume Group \"vg0\""));
}

TEST_F(LvmOps, ranges_of_a_partition_are_not_taken_for_partitions) {
  const os::Path image = add_image("p.img");
  os::CommandOptions options;
  options.input = "label: gpt\nstart=2048, size=16M\nsize=40M\n";
  ASSERT_EQ(os::run_command({"sfdisk", "-q", image.native()}, options).exit_code, 0);
  OpContext op = context();
  EXPECT_THAT(error_of([&] { create_pvs(op, {"p.img"}, {}); }).what(), HasSubstr("device is partitioned"));
  GroupOptions group_options;
  group_options.extent_bytes = kMiB;
  create_group(op, "vg0", {"p.img:1", "p.img:2"}, group_options);
  make_lv("here", 3, {"p.img:1:2-4"});
  EXPECT_EQ(std::get<lvm::StripedSegment>(lv("here")->segments.front().body).areas.front().extent, 2U);
  const std::string before = fill("here", 3);
  MoveRequest move;
  move.source = "p.img:1:3-3";
  OpContext moving = context();
  move_pv(moving, move);
  EXPECT_EQ(lv("here")->segments.size(), 3U);
  EXPECT_TRUE(seen("here") == before);
}

TEST_F(LvmOps, growing_keeps_the_bytes_and_shrinking_asks) {
  make_group();
  make_lv("root", 8);
  const std::string before = fill("root", 4);
  resize("root", SizeSign::plus, 80);
  EXPECT_EQ(lv("root")->extents(), 88U);
  EXPECT_TRUE(seen("root").substr(0, before.size()) == before);
  answer_ = false;
  EXPECT_THAT(error_of([&] { resize("root", SizeSign::none, 8); }).what(), HasSubstr("NOT reduced"));
  EXPECT_THAT(asked_, ElementsAre(HasSubstr("Do you really want to reduce vg0/root?")));
  EXPECT_EQ(reopened().group("vg0").vg.find_lv("root")->extents(), 88U);
  answer_ = true;
  resize("root", SizeSign::minus, 80);
  EXPECT_TRUE(seen("root") == before);
  EXPECT_THAT(error_of([&] { resize("root", SizeSign::minus, 8); }).what(),
              HasSubstr("Unable to reduce vg0/root below 1 extent."));
}

TEST_F(LvmOps, tags_permissions_and_policies_are_changed) {
  make_group();
  make_lv("root", 4);
  OpContext op = context();
  LvChange change;
  change.tags.add = {"daily", "keep"};
  change.writable = false;
  change.activation_skip = true;
  change.policy = "contiguous";
  change_lv(op, {"vg0", "root"}, change);
  change = {};
  change.tags.remove = {"daily"};
  change_lv(op, {"vg0", "root"}, change);
  const lvm::LogicalVolume& root = *reopened().group("vg0").vg.find_lv("root");
  EXPECT_THAT(root.tags, ElementsAre("keep"));
  EXPECT_FALSE(root.writable());
  EXPECT_THAT(root.flags, ElementsAre("ACTIVATION_SKIP"));
  EXPECT_EQ(root.allocation_policy, "contiguous");
  change = {};
  change.writable = false;
  OpContext again = context();
  EXPECT_THAT(error_of([&] {
                change_lv(again, {"vg0", "root"}, change);
              }).what(),
              HasSubstr("is already read only"));
}

TEST_F(LvmOps, a_pv_that_may_not_be_allocated_from_is_left_alone) {
  make_group();
  OpContext op = context();
  PvChange change;
  change.allocatable = false;
  change_pvs(op, {"a.img"}, change);
  make_lv("root", 4);
  EXPECT_EQ(std::get<lvm::StripedSegment>(lv("root")->segments.front().body).areas.front().name, "pv1");
  EXPECT_THAT(error_of([&] { make_lv("more", 4, {"a.img"}); }).what(),
              HasSubstr("No specified PVs have space available"));
  EXPECT_THAT(err_, HasSubstr("a.img not allocatable"));
  add_image("orphan.img");
  OpContext fresh = context();
  create_pvs(fresh, {"orphan.img"}, {});
  OpContext orphan = context();
  EXPECT_THAT(error_of([&] { change_pvs(orphan, {"orphan.img"}, change); }).what(),
              HasSubstr("0 physical volumes changed / 1 physical volume not changed"));
}

TEST_F(LvmOps, a_group_gets_limits_and_another_name) {
  make_group();
  make_lv("one", 1);
  make_lv("two", 1);
  OpContext op = context();
  GroupChange change;
  change.max_lv = 1;
  EXPECT_THAT(error_of([&] { change_group(op, "vg0", change); }).what(),
              HasSubstr("current number 2 of LVs"));
  change.max_lv = 2;
  change.tags.add = {"t"};
  change_group(op, "vg0", change);
  EXPECT_THAT(error_of([&] { make_lv("three", 1); }).what(), HasSubstr("Maximum number of logical volumes"));
  OpContext renaming = context();
  rename_group(renaming, "vg0", "vg1");
  const auto& vg = reopened().group("vg1").vg;
  EXPECT_EQ(vg.max_lv, 2U);
  EXPECT_THAT(vg.tags, ElementsAre("t"));
  EXPECT_NE(vg.find_lv("two"), nullptr);
  EXPECT_TRUE(disks().warnings().empty());
}

TEST_F(LvmOps, a_group_that_is_not_resizeable_keeps_its_disks) {
  make_group();
  OpContext op = context();
  GroupChange change;
  change.resizeable = false;
  change_group(op, "vg0", change);
  add_image("c.img");
  OpContext more = context();
  EXPECT_THAT(error_of([&] { extend_group(more, "vg0", {"c.img"}, {}, false); }).what(),
              HasSubstr("is not resizeable"));
  EXPECT_THAT(error_of([&] { reduce_group(more, "vg0", {"b.img"}); }).what(), HasSubstr("is not resizeable"));
  EXPECT_EQ(reopened().pvs().size(), 2U) << "c.img must not have become a PV";
}

TEST_F(LvmOps, disks_leave_a_group_when_they_are_empty) {
  make_group(3);
  make_lv("root", 4, {"b.img"});
  OpContext op = context();
  EXPECT_THAT(error_of([&] { reduce_group(op, "vg0", {"b.img"}); }).what(), HasSubstr("still in use"));
  reduce_group(op, "vg0", {"c.img"});
  EXPECT_FALSE(disks().pvs()[2].label.in_use);
  reduce_group_by_unused(op, "vg0");
  EXPECT_EQ(reopened().group("vg0").vg.pvs.size(), 1U);
  OpContext last = context();
  EXPECT_THAT(error_of([&] { reduce_group(last, "vg0", {"a.img"}); }).what(), HasSubstr("Failed to find"));
}

TEST_F(LvmOps, a_group_goes_with_all_it_has) {
  make_group();
  make_lv("root", 4);
  answer_ = false;
  OpContext op = context();
  EXPECT_THAT(error_of([&] { remove_group(op, "vg0"); }).what(), HasSubstr("not removed"));
  EXPECT_NE(lv("root"), nullptr);
  answer_ = true;
  OpContext again = context();
  remove_group(again, "vg0");
  EXPECT_THAT(reopened().groups(), IsEmpty());
  EXPECT_EQ(disks().pvs().size(), 2U);
}

TEST_F(LvmOps, a_move_that_stops_between_two_pieces_has_lost_nothing_and_goes_on) {
  make_group(2);
  for (const char* name : {"one", "two", "three"}) make_lv(name, 10, {"a.img"});
  const std::string one = fill("one", 8), three = fill("three", 9);
  std::size_t steps = 0;
  disks().set_before_step([&](std::string_view) {
    if (++steps == 6) throw Error(ErrorKind::io, "the power went");
  });
  MoveRequest move;
  move.source = "a.img";
  OpContext op = context();
  EXPECT_EQ(error_of([&] { move_pv(op, move); }).kind(), ErrorKind::io);
  reopened();
  EXPECT_GT(used_extents(group().vg, group().vg.pvs[0]), 0U);
  EXPECT_TRUE(seen("one") == one);
  EXPECT_TRUE(seen("three") == three);
  OpContext again = context();
  move_pv(again, move);
  reopened();
  EXPECT_EQ(used_extents(group().vg, group().vg.pvs[0]), 0U);
  EXPECT_TRUE(seen("one") == one);
  EXPECT_TRUE(seen("three") == three);
}

TEST_F(LvmOps, what_is_in_use_stays) {
  make_group();
  make_lv("root", 4);
  OpContext op = context();
  op.active = true;
  op.is_open = [](const VolumeName& name) { return name.lv == "root"; };
  EXPECT_EQ(error_of([&] { remove_lv(op, {"vg0", "root"}); }).kind(), ErrorKind::busy);
  EXPECT_EQ(error_of([&] { rename_lv(op, {"vg0", "root"}, "boot"); }).kind(), ErrorKind::busy);
  EXPECT_EQ(error_of([&] { remove_group(op, "vg0"); }).kind(), ErrorKind::busy);
  EXPECT_EQ(error_of([&] { rename_group(op, "vg0", "vg1"); }).kind(), ErrorKind::busy);
  MoveRequest move;
  move.source = "a.img";
  EXPECT_EQ(error_of([&] { move_pv(op, move); }).kind(), ErrorKind::busy);
}

TEST_F(LvmOps, parts_of_other_volumes_are_not_touched) {
  make_group();
  make_lv("part_of_it", 4);
  lvm::VolumeGroup next = group().vg;
  std::erase(next.find_lv("part_of_it")->status, "VISIBLE");
  disks().commit("vg0", std::move(next), "hidden by a test");
  OpContext op = context();
  const auto hidden = HasSubstr("not permitted on hidden LV");
  EXPECT_THAT(error_of([&] { remove_lv(op, {"vg0", "part_of_it"}); }).what(), hidden);
  EXPECT_THAT(error_of([&] { rename_lv(op, {"vg0", "part_of_it"}, "x"); }).what(), hidden);
  EXPECT_THAT(error_of([&] { resize("part_of_it", SizeSign::plus, 1); }).what(), hidden);
  EXPECT_THAT(error_of([&] { make_snapshot("part_of_it", "s", 2); }).what(), hidden);
}

}  // namespace
}  // namespace respaldo::engine
