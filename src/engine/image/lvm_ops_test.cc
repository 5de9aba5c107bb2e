// What the verbs do to the bytes and the metadata of images.
#include "engine/image/lvm_ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/units.h"
#include "engine/image/vg_edit.h"
#include "testing/errors.h"
#include "testing/temp.h"

namespace respaldo::engine {
namespace {

using ::testing::HasSubstr;

using testing::message_of;

// vg0 on two images of 15 extents of 4 MiB.
class Ops : public ::testing::Test {
 protected:
  Ops() {
    for (const char* name : {"a.img", "b.img"}) {
      images_.push_back(folder_.path() / name);
      std::ofstream(images_.back()).close();
      std::filesystem::resize_file(images_.back(), 64 * kMiB);
    }
    on([&](OpContext& op) { create_group(op, "vg0", {images_[0], images_[1]}, {}); });
  }

  void on(const std::function<void(OpContext&)>& body) { on(images_, 0, body); }
  void on(const std::vector<os::Path>& images, unsigned force, const std::function<void(OpContext&)>& body) {
    const auto disks = DiskSet::open(images, LockMode::exclusive);
    OpContext op{*disks,
                 [this](std::string_view line) { said_ += std::string(line) + "\n"; },
                 [this](std::string_view line) { said_ += std::string(line) + "\n"; },
                 [](std::string_view) { return true; },
                 [] { return std::int64_t{1700000000}; },
                 "host",
                 "a test",
                 false,
                 true,
                 force,
                 false,
                 {},
                 {},
                 nullptr,
                 {}};
    body(op);
  }
  void make(const std::string& name, std::uint64_t extents, std::vector<std::string> pvs = {},
            unsigned stripes = 1) {
    LvRequest request;
    request.vg = "vg0";
    request.name = name;
    request.size = {SizeSign::none, SizeBase::extents, extents};
    request.pvs = std::move(pvs);
    request.stripes = stripes;
    on([&](OpContext& op) { create_lv(op, request); });
  }
  void snap(const std::string& origin, const std::string& name, std::uint64_t extents) {
    SnapshotRequest request;
    request.store.vg = "vg0";
    request.store.name = name;
    request.store.size = {SizeSign::none, SizeBase::extents, extents};
    request.origin = origin;
    on([&](OpContext& op) { create_snapshot(op, request); });
  }
  void write(const std::string& name, std::uint64_t offset, ByteView bytes) {
    const auto device = make_image_engine(images_)->open_write({"vg0", name});
    device->write_at(offset, bytes);
    device->flush();
  }
  void fill(const std::string& name, std::uint64_t seed) {
    write(name, 0, respaldo::testing::random_bytes(bytes_of(name).size(), seed));
  }
  std::string bytes_of(const std::string& name) {
    const auto device = make_image_engine(images_)->open_read({"vg0", name});
    std::string bytes(device->size(), '\0');
    device->read_at(0, {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()});
    return bytes;
  }
  // "a.img:0+3 b.img:1+2": the pieces of a volume.
  std::string places(const std::string& name) {
    const auto disks = DiskSet::open(images_, LockMode::shared);
    const auto& group = disks->group("vg0");
    std::string text;
    for (const lvm::Segment& segment : group.vg.find_lv(name)->segments)
      for (const auto& area : std::get<lvm::StripedSegment>(segment.body).areas)
        text += (text.empty() ? "" : " ") +
                os::Path(disks->pvs()[group.pvs.at(group.vg.find_pv(area.name)->id.plain())].name)
                    .filename()
                    .native() +
                ":" + std::to_string(area.extent) + "+" + std::to_string(segment.count);
    return text;
  }

  os::TemporaryFolder folder_;
  std::vector<os::Path> images_;
  std::string said_;
};

TEST_F(Ops, pvmove_takes_the_bytes_along) {
  make("one", 3, {images_[0]});
  make("two", 2, {images_[1]});
  make("both", 4, {}, 2);
  fill("one", 1), fill("both", 2);
  const std::string one = bytes_of("one"), both = bytes_of("both");
  on([&](OpContext& op) { move_pv(op, {images_[0], {}, "one", AllocationPolicy::normal}); });
  EXPECT_EQ(places("one"), "b.img:4+3");
  EXPECT_EQ(bytes_of("one"), one);
  on([&](OpContext& op) { move_pv(op, {images_[0], {}, "", AllocationPolicy::normal}); });
  EXPECT_EQ(bytes_of("both"), both);
  on([&](OpContext& op) { reduce_group(op, "vg0", {images_[0]}); });
  EXPECT_EQ(bytes_of("one") + bytes_of("both"), one + both);
}

TEST_F(Ops, pvmove_without_room_moves_nothing_it_cannot_place) {
  make("full", 15, {images_[1]});
  make("one", 3, {images_[0]});
  fill("one", 1);
  const std::string one = bytes_of("one");
  EXPECT_THAT(message_of([&] {
                on([&](OpContext& op) { move_pv(op, {images_[0], {}, "", AllocationPolicy::normal}); });
              }),
              HasSubstr("nsufficient"));
  EXPECT_EQ(places("one"), "a.img:0+3");
  EXPECT_EQ(bytes_of("one"), one);
}

TEST_F(Ops, what_a_missing_pv_took_is_removed_by_force_alone) {
  make("kept", 3, {images_[0]});
  make("lost", 3, {images_[1]});
  fill("kept", 1);
  const std::string kept = bytes_of("kept");
  const std::vector<os::Path> first = {images_[0]};
  EXPECT_THAT(message_of([&] { on(first, 0, [&](OpContext& op) { remove_missing_pvs(op, "vg0"); }); }),
              HasSubstr("There are still partial LVs in VG vg0."));
  EXPECT_THAT(said_, HasSubstr("WARNING: Partial LV lost"));
  EXPECT_THAT(message_of([&] { on(first, 0, [&](OpContext& op) {
                               remove_lv(op, {"vg0", "kept"});
                             }); }),
              HasSubstr("while PVs are missing"));
  on(first, 1, [&](OpContext& op) { remove_missing_pvs(op, "vg0"); });
  const auto disks = DiskSet::open(first, LockMode::shared);
  EXPECT_EQ(disks->group("vg0").vg.pvs.size(), 1);
  EXPECT_EQ(disks->group("vg0").vg.find_lv("lost"), nullptr);
  images_ = first;
  EXPECT_EQ(bytes_of("kept"), kept);
}

TEST_F(Ops, an_old_text_brings_a_removed_volume_back) {
  make("root", 3);
  make("more", 2);
  fill("root", 1);
  const std::string before = bytes_of("root");
  std::string text;
  on([&](OpContext& op) { text = backup_text(op, op.disks.group("vg0")); });
  on([&](OpContext& op) {
    remove_lv(op, {"vg0", "root"});
    rename_lv(op, {"vg0", "more"}, "other");
  });
  std::uint64_t seqno = 0;
  on([&](OpContext& op) {
    seqno = op.disks.group("vg0").vg.seqno;
    restore_group(op, "vg0", text);
    EXPECT_GT(op.disks.group("vg0").vg.seqno, seqno);
  });
  EXPECT_EQ(bytes_of("root"), before);
  EXPECT_EQ(bytes_of("more").size(), 8 * kMiB);
  EXPECT_THAT(message_of([&] { on([&](OpContext& op) { restore_group(op, "vg1", text); }); }),
              HasSubstr("The file is of volume group vg0, not of vg1"));
  EXPECT_THAT(message_of([&] { on({images_[0]}, 0, [&](OpContext& op) { restore_group(op, "vg0", text); }); }),
              HasSubstr("Couldn't find device with uuid"));
}

TEST_F(Ops, a_snapshot_is_split_and_paired_again) {
  make("root", 4);
  fill("root", 1);
  const std::string before = bytes_of("root");
  snap("root", "snap", 3);
  write("root", 3 * kMiB + 100, respaldo::testing::random_bytes(2 * kMiB, 9));
  const std::string after = bytes_of("root");
  ASSERT_EQ(bytes_of("snap"), before);
  on([&](OpContext& op) { split_snapshot(op, {"vg0", "snap"}); });
  EXPECT_EQ(bytes_of("snap").size(), 12 * kMiB) << "the store itself";
  on([&](OpContext& op) { pair_existing(op, {"vg0", "root"}, "snap", 4096, false); });
  EXPECT_EQ(bytes_of("snap"), before);
  on([&](OpContext& op) { split_snapshot(op, {"vg0", "snap"}); });
  on([&](OpContext& op) { pair_existing(op, {"vg0", "root"}, "snap", 4096, true); });
  EXPECT_EQ(bytes_of("snap"), after) << "an emptied store begins with what is";
}

TEST_F(Ops, a_merge_goes_back_and_other_snapshots_keep_what_they_show) {
  make("root", 4);
  fill("root", 1);
  const std::string first = bytes_of("root");
  snap("root", "one", 4);
  write("root", 100, respaldo::testing::random_bytes(3 * kMiB, 2));
  const std::string second = bytes_of("root");
  snap("root", "two", 4);
  write("root", 9 * kMiB, respaldo::testing::random_bytes(kMiB, 3));
  on([&](OpContext& op) { merge_snapshot(op, {"vg0", "one"}); });
  EXPECT_EQ(bytes_of("root"), first);
  EXPECT_EQ(bytes_of("two"), second);
}

TEST_F(Ops, a_snapshot_that_overflowed_is_not_merged) {
  make("root", 4);
  fill("root", 1);
  snap("root", "snap", 1);
  fill("root", 2);
  const std::string now = bytes_of("root");
  EXPECT_THAT(message_of([&] { on([&](OpContext& op) {
                               merge_snapshot(op, {"vg0", "snap"});
                             }); }),
              HasSubstr("Unable to merge invalidated snapshot LV vg0/snap."));
  EXPECT_EQ(bytes_of("root"), now);
}

TEST_F(Ops, sizes_are_rounded_up_and_told) {
  LvRequest request;
  request.vg = "vg0";
  request.name = "odd";
  request.size = parse_size_spec("5m");
  on([&](OpContext& op) { create_lv(op, request); });
  EXPECT_THAT(said_, HasSubstr("Rounding up size to full physical extent 8.00 MiB"));
  EXPECT_EQ(bytes_of("odd").size(), 8 * kMiB);
  request.name = "striped";
  request.size = parse_extents_spec("3");
  request.stripes = 2;
  on([&](OpContext& op) { create_lv(op, request); });
  EXPECT_THAT(said_, HasSubstr("up to stripe boundary size 16.00 MiB (4 extents)"));
  ResizeRequest resize;
  resize.name = {"vg0", "odd"};
  resize.size = parse_extents_spec("-1");
  resize.may_extend = false;
  resize.may_reduce = true;
  on([&](OpContext& op) { resize_lv(op, resize); });
  EXPECT_EQ(bytes_of("odd").size(), 4 * kMiB);
  EXPECT_THAT(message_of([&] { on([&](OpContext& op) { resize_lv(op, resize); }); }),
              HasSubstr("Unable to reduce vg0/odd below 1 extent."));
}

TEST_F(Ops, a_new_volume_begins_with_zeros_where_an_old_one_was) {
  make("old", 3);
  fill("old", 1);
  on([&](OpContext& op) { remove_lv(op, {"vg0", "old"}); });
  make("fresh", 3);
  EXPECT_EQ(bytes_of("fresh").substr(0, 4096), std::string(4096, '\0'));
}

}  // namespace
}  // namespace respaldo::engine
