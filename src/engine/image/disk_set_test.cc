#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/units.h"
#include "block/file_device.h"
#include "engine/image/image_engine.h"
#include "engine/image/vg_edit.h"
#include "os/process.h"
#include "testing/errors.h"

namespace respaldo::engine {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr std::uint64_t kImageSize = 64 * kMiB;

// Two images with orphan PVs of one metadata area each, as pvcreate leaves them.
class Disks : public ::testing::Test {
 protected:
  Disks() {
    for (const char* name : {"a.img", "b.img"}) images_.push_back(make_pv(name));
  }

  os::Path make_pv(const std::string& name) {
    const os::Path path = folder_.path() / name;
    std::ofstream(path).close();
    std::filesystem::resize_file(path, kImageSize);
    block::FileDevice device(path, block::FileDevice::Access::read_write);
    lvm::PvLabel label;
    label.id = lvm::Uuid::random();
    label.device_size = kImageSize;
    label.data_offset = kMiB;
    label.metadata_areas = {{4096, kMiB - 4096}};
    lvm::format_metadata_area(device, label.metadata_areas.front());
    lvm::write_label(device, label);
    device.flush();
    return path;
  }

  static lvm::VolumeGroup group_of(const DiskSet& disks, const std::string& name) {
    lvm::VolumeGroup vg;
    vg.name = name;
    vg.id = lvm::Uuid::random();
    vg.status = {"RESIZEABLE", "READ", "WRITE"};
    for (const FoundPv& found : disks.pvs()) {
      lvm::PhysicalVolume pv;
      pv.key = free_pv_key(vg);
      pv.id = found.label.id;
      pv.device_hint = found.name;
      pv.status = {"ALLOCATABLE"};
      pv.dev_size_sectors = kImageSize / 512;
      pv.pe_start_sectors = 2048;
      pv.pe_count = 15;
      vg.pvs.push_back(pv);
    }
    return vg;
  }

  static lvm::Segment linear(const std::string& pv, std::uint64_t start, std::uint64_t count,
                             std::uint64_t at = 0) {
    lvm::Segment segment;
    segment.start = at;
    segment.count = count;
    segment.type = "striped";
    segment.body = lvm::StripedSegment{0, {{pv, start}}};
    return segment;
  }

  // A group "vg0" with "root" over both PVs.
  void make_group() {
    auto disks = DiskSet::open(images_, LockMode::exclusive);
    lvm::VolumeGroup vg = group_of(*disks, "vg0");
    NewLv lv;
    lv.name = "root";
    lv.segments = {linear("pv0", 5, 10), linear("pv1", 0, 3, 10)};
    add_lv(vg, std::move(lv));
    disks->commit("vg0", std::move(vg), "made by a test");
  }

  os::TemporaryFolder folder_;
  std::vector<os::Path> images_;
};

using testing::error_of;

TEST_F(Disks, a_committed_group_is_found_again) {
  make_group();
  const auto disks = DiskSet::open(images_, LockMode::shared);
  ASSERT_EQ(disks->groups().size(), 1U);
  const auto& group = disks->group("vg0");
  EXPECT_EQ(group.vg.seqno, 1U);
  EXPECT_EQ(group.pvs.size(), 2U);
  EXPECT_EQ(group.vg.lv_bytes(*group.vg.find_lv("root")), 13 * 4 * kMiB);
  EXPECT_TRUE(disks->warnings().empty()) << disks->warnings().front();
  for (const FoundPv& pv : disks->pvs()) EXPECT_TRUE(pv.label.in_use);
  EXPECT_EQ(&disks->group(group.vg.id.dashed()), &group);
}

TEST_F(Disks, real_pvck_reads_what_was_committed) {
  make_group();
  for (const os::Path& image : images_) {
    const auto headers = os::run_command({"pvck", "--dump", "headers", image.native()});
    EXPECT_EQ(headers.exit_code, 0) << headers.out << headers.err;
    EXPECT_THAT(headers.out + headers.err, ::testing::Not(HasSubstr("CHECK:")));
    const auto text = os::run_command({"pvck", "--dump", "metadata", image.native()});
    EXPECT_EQ(text.exit_code, 0) << text.err;
    EXPECT_THAT(text.out, HasSubstr("seqno = 1"));
  }
}

TEST_F(Disks, bytes_written_to_a_volume_are_where_its_extents_are) {
  make_group();
  const Bytes mark = Bytes::copy_of(as_bytes("respaldo"));
  {
    auto disks = DiskSet::open(images_, LockMode::exclusive);
    const auto& group = disks->group("vg0");
    const auto lv = disks->open_layer_writable(group, *group.vg.find_lv("root"), "");
    lv->write_at(10 * 4 * kMiB - 4, mark);
    lv->flush();
  }
  const auto disks = DiskSet::open(images_, LockMode::shared);
  const auto& group = disks->group("vg0");
  const auto lv = disks->open_lv(group, *group.vg.find_lv("root"));
  EXPECT_EQ(as_text(block::read(*lv, 10 * 4 * kMiB - 4, 8)), "respaldo");
  EXPECT_EQ(as_text(block::read(*disks->disk_device(1), kMiB, 4)), "aldo");
}

TEST_F(Disks, a_commit_that_stops_anywhere_leaves_the_old_or_the_new_group) {
  make_group();
  bool finished = false;
  for (int stop = 0; !finished; ++stop) {
    SCOPED_TRACE(stop);
    ASSERT_LT(stop, 100);
    std::uint64_t before = 0;
    {
      auto disks = DiskSet::open(images_, LockMode::exclusive);
      lvm::VolumeGroup next = disks->group("vg0").vg;
      before = next.seqno;
      next.tags.push_back("try" + std::to_string(stop));
      int step = 0;
      disks->set_before_step([&](std::string_view) {
        if (step++ == stop) throw Cancelled();
      });
      try {
        disks->commit("vg0", std::move(next), "change");
        finished = true;
      } catch (const Cancelled&) {
      }
    }
    const auto disks = DiskSet::open(images_, LockMode::shared);
    const auto& group = disks->group("vg0");
    EXPECT_FALSE(group.inconsistent);
    if (finished) {
      EXPECT_EQ(group.vg.seqno, before + 1);
    } else {
      EXPECT_THAT(group.vg.seqno, ::testing::AnyOf(before, before + 1));
    }
    EXPECT_NE(group.vg.find_lv("root"), nullptr);
  }
}

TEST_F(Disks, a_new_group_that_stops_anywhere_can_be_made_again) {
  bool finished = false;
  for (int stop = 0; !finished; ++stop) {
    SCOPED_TRACE(stop);
    ASSERT_LT(stop, 100);
    auto disks = DiskSet::open(images_, LockMode::exclusive);
    if (!disks->groups().empty()) disks->remove_group("vg0");
    int step = 0;
    disks->set_before_step([&](std::string_view) {
      if (step++ == stop) throw Cancelled();
    });
    try {
      disks->commit("vg0", group_of(*disks, "vg0"), "vgcreate");
      finished = true;
    } catch (const Cancelled&) {
    }
  }
  EXPECT_EQ(DiskSet::open(images_, LockMode::shared)->group("vg0").pvs.size(), 2U);
}

TEST_F(Disks, a_missing_disk_leaves_what_is_on_the_other_readable) {
  make_group();
  const auto disks = DiskSet::open({images_[0]}, LockMode::shared);
  const auto& group = disks->group("vg0");
  EXPECT_THAT(disks->warnings(), Contains(HasSubstr("lacks PV")));
  const auto lv = disks->open_lv(group, *group.vg.find_lv("root"));
  EXPECT_NO_THROW(block::read(*lv, 0, 4096));
  const Error error = error_of([&] { block::read(*lv, 11 * 4 * kMiB, 4096); });
  EXPECT_EQ(error.kind(), ErrorKind::missing);
  EXPECT_THAT(error.what(), HasSubstr("b.img"));
}

TEST_F(Disks, a_group_with_a_missing_disk_is_not_changed) {
  make_group();
  auto disks = DiskSet::open({images_[0]}, LockMode::exclusive);
  EXPECT_EQ(error_of([&] { disks->commit("vg0", disks->group("vg0").vg, "x"); }).kind(), ErrorKind::refused);
  EXPECT_EQ(error_of([&] { disks->remove_group("vg0"); }).kind(), ErrorKind::refused);
}

TEST_F(Disks, a_cloned_disk_is_refused) {
  make_group();
  const os::Path clone = folder_.path() / "clone.img";
  std::filesystem::copy_file(images_[0], clone);
  auto images = images_;
  images.push_back(clone);
  auto disks = DiskSet::open(images, LockMode::exclusive);
  EXPECT_THAT(disks->warnings(), Contains(HasSubstr("clone")));
  const auto& group = disks->group("vg0");
  EXPECT_EQ(error_of([&] { disks->open_lv(group, *group.vg.find_lv("root")); }).kind(), ErrorKind::refused);
  EXPECT_EQ(error_of([&] { disks->commit("vg0", group.vg, "x"); }).kind(), ErrorKind::refused);
}

TEST_F(Disks, two_groups_of_one_name_are_told_apart_by_uuid) {
  make_group();
  const os::Path other = make_pv("c.img");
  {
    auto disks = DiskSet::open({other}, LockMode::exclusive);
    disks->commit("vg0", group_of(*disks, "vg0"), "another vg0");
  }
  auto images = images_;
  images.push_back(other);
  const auto disks = DiskSet::open(images, LockMode::shared);
  ASSERT_EQ(disks->groups().size(), 2U);
  EXPECT_EQ(error_of([&] { disks->group("vg0"); }).kind(), ErrorKind::usage);
  EXPECT_EQ(disks->group(disks->groups()[1].vg.id.dashed()).vg.id, disks->groups()[1].vg.id);
}

TEST_F(Disks, a_truncated_image_is_read_up_to_its_end) {
  make_group();
  std::filesystem::resize_file(images_[0], 40 * kMiB);
  const auto disks = DiskSet::open(images_, LockMode::shared);
  EXPECT_THAT(disks->warnings(), Contains(HasSubstr("truncated")));
  const auto& group = disks->group("vg0");
  const auto lv = disks->open_lv(group, *group.vg.find_lv("root"));
  EXPECT_NO_THROW(block::read(*lv, 0, 4096));
  EXPECT_EQ(error_of([&] { block::read(*lv, 9 * 4 * kMiB, 4096); }).kind(), ErrorKind::missing);
}

TEST_F(Disks, one_damaged_copy_does_no_harm_and_is_told) {
  make_group();
  {
    block::FileDevice device(images_[0], block::FileDevice::Access::read_write);
    device.write_at(4096 + 512 + 40, as_bytes("XXXX"));
    device.flush();
  }
  const auto disks = DiskSet::open(images_, LockMode::shared);
  EXPECT_EQ(disks->group("vg0").pvs.size(), 2U);
  EXPECT_THAT(disks->warnings(), Contains(HasSubstr("damaged")));
}

TEST_F(Disks, a_writer_keeps_others_out_and_readers_share) {
  const auto reader = DiskSet::open(images_, LockMode::shared);
  EXPECT_NO_THROW(DiskSet::open(images_, LockMode::shared, 0));
  const Error error = error_of([&] { DiskSet::open(images_, LockMode::exclusive, 0); });
  EXPECT_EQ(error.kind(), ErrorKind::busy);
  EXPECT_THAT(error.what(), HasSubstr("a.img"));
}

TEST_F(Disks, a_device_keeps_the_lock_of_its_image) {
  make_group();
  block::DevicePtr lv;
  {
    const auto disks = DiskSet::open(images_, LockMode::shared);
    const auto& group = disks->group("vg0");
    lv = disks->open_lv(group, *group.vg.find_lv("root"));
  }
  EXPECT_EQ(error_of([&] { DiskSet::open(images_, LockMode::exclusive, 0); }).kind(), ErrorKind::busy);
  lv.reset();
  EXPECT_NO_THROW(DiskSet::open(images_, LockMode::exclusive, 0));
}

TEST_F(Disks, one_image_given_twice_is_a_mistake) {
  images_.push_back(folder_.path() / "." / "a.img");
  EXPECT_EQ(error_of([&] { DiskSet::open(images_, LockMode::shared); }).kind(), ErrorKind::usage);
}

TEST_F(Disks, a_group_removed_leaves_orphans) {
  make_group();
  {
    auto disks = DiskSet::open(images_, LockMode::exclusive);
    disks->remove_group("vg0");
  }
  const auto disks = DiskSet::open(images_, LockMode::shared);
  EXPECT_TRUE(disks->groups().empty());
  ASSERT_EQ(disks->pvs().size(), 2U);
  for (const FoundPv& pv : disks->pvs()) EXPECT_FALSE(pv.label.in_use);
}

TEST_F(Disks, the_engine_lists_reads_and_holds_volumes) {
  make_group();
  const auto engine = make_image_engine(images_);
  const auto volumes = engine->list();
  ASSERT_EQ(volumes.size(), 1U);
  EXPECT_EQ(volumes[0].name.str(), "vg0/root");
  EXPECT_TRUE(volumes[0].unreadable.empty()) << volumes[0].unreadable;
  {
    const auto device = engine->open_write({"vg0", "root"});
    device->write_at(8192, as_bytes("hello"));
    device->flush();
    EXPECT_EQ(error_of([&] { engine->open_read({"vg0", "root"}); }).kind(), ErrorKind::busy);
  }
  const auto lease = engine->acquire({"vg0", "root"}, {});
  EXPECT_EQ(lease->how(), "direct");
  EXPECT_EQ(as_text(block::read(lease->device(), 8192, 5)), "hello");
  lease->require_valid();
  const Error error = error_of([&] { engine->find({"vg0", "rooot"}); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_THAT(error.hint(), HasSubstr("vg0/root"));
  EXPECT_THAT(engine->vg_config("vg0"), HasSubstr("vg0 {"));
}

}  // namespace
}  // namespace respaldo::engine
