// What is decided before anything is touched.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/units.h"
#include "block/file_device.h"
#include "fs/part/partition_table.h"
#include "machine/host_test.h"
#include "provision/disk_use.h"
#include "provision/partition_door.h"
#include "provision/target_list.h"
#include "testing/errors.h"

namespace respaldo::provision {
namespace {

using machine::make_disk;
using machine::make_host;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using testing::error_of;

machine::Device disk_with(std::uint64_t logical, std::uint64_t physical, std::uint64_t optimal,
                          std::int64_t offset = 0) {
  machine::Device disk = make_disk("sdb", 8 * kGiB);
  disk.topology = {.logical_sector = logical,
                   .physical_sector = physical,
                   .optimal_io = optimal,
                   .alignment_offset = offset};
  return disk;
}

TEST(PartitionPlan, aligns_to_what_the_disk_says_when_it_can_be_true) {
  EXPECT_EQ(plan_partition(disk_with(512, 512, 0), TableKind::gpt).start, kMiB);
  EXPECT_EQ(plan_partition(disk_with(512, 4096, 0), TableKind::gpt).start, kMiB);
  EXPECT_EQ(plan_partition(disk_with(4096, 4096, 4096), TableKind::gpt).start, kMiB);
  EXPECT_EQ(plan_partition(disk_with(512, 4096, 4 * kMiB), TableKind::gpt).start, 4 * kMiB);
  // Three data disks of 64 KiB stripes: the first multiple behind the first MiB.
  EXPECT_EQ(plan_partition(disk_with(512, 4096, 192 * kKiB), TableKind::gpt).start, 6 * 192 * kKiB);
  EXPECT_EQ(plan_partition(disk_with(512, 4096, 0, 3584), TableKind::gpt).start, kMiB + 3584);
}

TEST(PartitionPlan, does_not_believe_usb_bridges) {
  const PartitionPlan plan = plan_partition(disk_with(512, 4096, 33553920), TableKind::gpt);
  EXPECT_EQ(plan.start, kMiB);
  EXPECT_EQ(plan.alignment, kMiB);
  ASSERT_THAT(plan.notes, SizeIs(1));
  EXPECT_THAT(plan.notes[0], HasSubstr("33553920"));
  EXPECT_THAT(plan_partition(disk_with(512, 33553920, 0), TableKind::gpt).notes, SizeIs(1));
  EXPECT_THAT(plan_partition(disk_with(512, 4096, 2 * kGiB), TableKind::gpt).notes, SizeIs(1));
  EXPECT_THAT(plan_partition(disk_with(512, 4096, 0, 100), TableKind::gpt).notes, SizeIs(1));
  EXPECT_THAT(plan_partition(disk_with(512, 4096, 0, -1), TableKind::gpt).notes, SizeIs(1));
}

TEST(PartitionPlan, fits_the_disk) {
  const PartitionPlan plan = plan_partition(disk_with(512, 512, 0), TableKind::gpt);
  EXPECT_EQ(plan.length, 8 * kGiB - 2 * kMiB);
  EXPECT_EQ(plan_partition(disk_with(512, 512, 0), TableKind::mbr).length, 8 * kGiB - kMiB);
  EXPECT_EQ(error_of([] { plan_partition(make_disk("sdb", 8 * kMiB), TableKind::gpt); }).kind(),
            ErrorKind::no_space);
  EXPECT_EQ(error_of([] { plan_partition(make_disk("sdb", 3 * kTiB), TableKind::mbr); }).kind(),
            ErrorKind::unsupported);
  EXPECT_EQ(partition_path("/dev/sdb", 1), "/dev/sdb1");
  EXPECT_EQ(partition_path("/dev/nvme0n1", 1), "/dev/nvme0n1p1");
}

class Image : public ::testing::TestWithParam<TableKind> {
 protected:
  Image() : path_((folder_.path() / "disk.img").native()) {
    const os::UniqueFd fd = os::open_file(path_, O_RDWR | O_CREAT | O_CLOEXEC);
    EXPECT_EQ(::ftruncate(fd.get(), 64 << 20), 0);
    os::write_all_at(fd.get(), 4096, as_bytes(std::string("something old")), path_);
  }
  os::TemporaryFolder folder_;
  std::string path_;
};

TEST_P(Image, gets_the_planned_partition_and_gives_it_back) {
  const auto door = real_partitions();
  machine::Device disk = make_disk("sdb", 64 * kMiB);
  disk.topology.optimal_io = 33553920;
  const PartitionPlan plan = plan_partition(disk, GetParam());
  const auto before = door->save(path_);
  door->write(path_, plan);
  const auto table = fs::read_partition_table(block::FileDevice(path_, block::FileDevice::Access::read_only));
  ASSERT_TRUE(table);
  EXPECT_EQ(table->kind, GetParam() == TableKind::gpt ? "gpt" : "dos");
  ASSERT_THAT(table->partitions, SizeIs(1));
  EXPECT_EQ(table->partitions[0].extent.offset, plan.start);
  EXPECT_EQ(table->partitions[0].extent.length, plan.length);
  EXPECT_EQ(table->partitions[0].type_name, "Linux LVM");
  EXPECT_THAT(table->problems, IsEmpty());
  door->restore(path_, before);
  EXPECT_FALSE(fs::read_partition_table(block::FileDevice(path_, block::FileDevice::Access::read_only)));
  const auto after = door->save(path_);
  EXPECT_TRUE(std::equal(before.head.data(), before.head.data() + kMiB, after.head.data()));
  EXPECT_TRUE(std::equal(before.tail.data(), before.tail.data() + kMiB, after.tail.data()));
}
INSTANTIATE_TEST_SUITE_P(BothKinds, Image, ::testing::Values(TableKind::gpt, TableKind::mbr),
                         [](const auto& one) { return std::string(to_string(one.param)); });

TEST_P(Image, loses_every_signature_and_another_one_none) {
  const auto door = real_partitions();
  const std::string part = (folder_.path() / "part.img").native();
  std::filesystem::copy_file(path_, part);
  for (const std::string& one : {path_, part})
    door->write(one, plan_partition(make_disk("sdb", 64 * kMiB), GetParam()));
  const auto table = [](const std::string& of) {
    return fs::read_partition_table(block::FileDevice(of, block::FileDevice::Access::read_only));
  };
  EXPECT_EQ(error_of([&] { door->wipe({.path = path_, .size = 63 * kMiB}, {}); }).kind(),
            ErrorKind::refused);
  EXPECT_TRUE(table(path_)) << "of another size: not the one that was meant";
  EXPECT_EQ(
      error_of([&] { door->wipe({.path = path_, .size = 64 * kMiB}, {{.path = part, .size = 1}}); }).kind(),
      ErrorKind::refused);
  EXPECT_TRUE(table(path_)) << "all are looked at before one is written";
  door->wipe({.path = path_, .size = 64 * kMiB}, {{.path = part, .size = 64 * kMiB}});
  EXPECT_FALSE(table(path_));
  EXPECT_FALSE(table(part));
}

class TargetPlanning : public ::testing::Test {
 protected:
  TargetPlan plan() { return plan_target(host, options, "0000", unknown); }
  machine::Picture host = make_host();
  TargetOptions options{.disk = "/dev/sdb"};
  bool unknown = false;
};

TEST_F(TargetPlanning, of_an_empty_disk_needs_nothing_more) {
  const TargetPlan p = plan();
  EXPECT_EQ(p.partition, "/dev/sdb1");
  EXPECT_EQ(p.device, "/dev/backup/backups");
  EXPECT_EQ(p.fstab.source, "UUID=0000");
  EXPECT_TRUE(p.fstab.has_option("nofail"));
  EXPECT_EQ(p.fstab.option_value("x-systemd.device-timeout"), "10s");
  EXPECT_EQ(p.fstab.option_value(kFstabMark), "backup/backups");
  EXPECT_EQ(p.fstab.pass, 2);
  EXPECT_THAT(p.now, IsEmpty());
  EXPECT_THAT(p.warnings, IsEmpty());
}

TEST_F(TargetPlanning, refuses_what_is_in_use_whatever_is_said) {
  options.disk = options.destroy = "/dev/sda";
  const Error root = error_of([&] { plan(); });
  EXPECT_EQ(root.kind(), ErrorKind::busy);
  EXPECT_THAT(root.message(), HasSubstr("mounted at /"));
  options.disk = options.destroy = "/dev/sdb";
  host.swaps = {{"/dev/sdb", 1, 0}};
  EXPECT_THAT(error_of([&] { plan(); }).message(), HasSubstr("swap"));
  host.swaps.clear();
  host.devices.back().content.unreadable = "Input/output error";
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::busy);
}

TEST_F(TargetPlanning, what_changed_since_it_was_shown_is_not_touched) {
  machine::Device& disk = host.devices.back();
  disk.serial = "S1";
  disk.content = {.type = "ext4", .uuid = "U1"};
  options.destroy = "/dev/sdb";
  const TargetPlan shown = plan();
  require_unchanged(shown, plan());
  const machine::Device before = disk;
  const auto refused = [&](auto change) {
    change(disk);
    const Error error = error_of([&] { require_unchanged(shown, plan()); });
    disk = before;
    return error.kind() == ErrorKind::refused;
  };
  EXPECT_TRUE(refused([](machine::Device& d) { d.serial = "S2"; }));
  EXPECT_TRUE(refused([](machine::Device& d) { d.minor = 16; }));
  EXPECT_TRUE(refused([](machine::Device& d) { d.size += 512; }));
  EXPECT_TRUE(refused([](machine::Device& d) { d.content.uuid = "U2"; }));
  EXPECT_TRUE(refused([](machine::Device& d) { d.content = {}; }));
}

TEST_F(TargetPlanning, refuses_a_disk_that_holds_anything_unless_it_is_named_twice) {
  host.devices.back().content = {.type = "ext4", .label = "photos"};
  Error refused = error_of([&] { plan(); });
  EXPECT_EQ(refused.kind(), ErrorKind::refused);
  EXPECT_THAT(refused.message(), HasSubstr("ext4 \"photos\""));
  EXPECT_THAT(refused.hint(), HasSubstr("--destroy /dev/sdb"));
  options.destroy = "/dev/sda";
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::usage);
  options.destroy = "/dev/sdb";
  EXPECT_THAT(plan().warnings, ElementsAre(HasSubstr("will be lost")));
  host.devices.back().content = {.partition_table = "dos"};
  options.destroy.clear();
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::refused);
  host.devices.back().content = {};
  unknown = true;
  EXPECT_THAT(error_of([&] { plan(); }).message(), HasSubstr("nothing is known of"));
  unknown = false;
  host.devices.back().read_only = true;
  EXPECT_THAT(error_of([&] { plan(); }).message(), HasSubstr("read-only"));
}

TEST_F(TargetPlanning, a_pv_of_a_larger_group_is_in_use) {
  host.devices.back().content = {.type = "LVM2_member", .uuid = "PV2"};
  engine::PvRow second = host.pvs[0];
  second.name = "/dev/sdb";
  host.pvs.push_back(second);
  options.destroy = "/dev/sdb";
  const Error refused = error_of([&] { plan(); });
  EXPECT_EQ(refused.kind(), ErrorKind::busy);
  EXPECT_THAT(refused.message(), HasSubstr("vgreduce vg0 /dev/sdb"));
}

TEST_F(TargetPlanning, takes_whole_disks_only) {
  options.disk = "/dev/sda1";
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::usage);
  options.disk = "/dev/vg0/root";
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::usage);
  options.disk = "/dev/sdz";
  EXPECT_THAT(error_of([&] { plan(); }).hint(), HasSubstr("/dev/sdb"));
}

TEST_F(TargetPlanning, names_and_places_must_be_free_and_fit) {
  options.group = "vg0";
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::refused);
  options.extend_group = true;
  EXPECT_THAT(plan().warnings, ElementsAre(HasSubstr("will depend on /dev/sdb")));
  options.volume = "root";
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::refused);
  options = {.disk = "/dev/sdb", .group = "none", .extend_group = true};
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::not_found);
  options = {.disk = "/dev/sdb", .group = "-x"};
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::usage);
  options = {.disk = "/dev/sdb", .mount_point = "/"};
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::usage);
  options = {.disk = "/dev/sdb", .size = 3 * kGiB};
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::no_space);
  options = {.disk = "/dev/sdb", .size = 200 * kMiB, .filesystem = "xfs"};
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::no_space);
  options = {.disk = "/dev/sdb", .filesystem = "ntfs"};
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::usage);
  host.lvm_known = false;
  options = {.disk = "/dev/sdb"};
  EXPECT_EQ(error_of([&] { plan(); }).kind(), ErrorKind::unsupported);
}

TEST(Targets, are_found_by_tag_and_by_fstab_even_when_the_disk_is_gone) {
  machine::Picture host = make_host();
  EXPECT_THAT(find_targets(host), IsEmpty());
  host.fstab = {{"UUID=1", "/backups", "ext4", "defaults,nofail,x-respaldo.target=backup/backups", 0, 2}};
  const auto gone = find_targets(host);
  ASSERT_THAT(gone, SizeIs(1));
  EXPECT_FALSE(gone[0].there);
  EXPECT_TRUE(gone[0].in_fstab);
  EXPECT_THAT(gone[0].problems, ElementsAre(HasSubstr("plug the disk in")));
  host.lvs[0].tags = {kTargetTag};
  EXPECT_THAT(find_targets(host), SizeIs(2));
  EXPECT_EQ(choose_target(find_targets(host), "/backups").full_name(), "backup/backups");
  EXPECT_EQ(choose_target(find_targets(host), "/dev/mapper/vg0-root").full_name(), "vg0/root");
  EXPECT_EQ(error_of([&] { choose_target(find_targets(host), ""); }).kind(), ErrorKind::usage);
  EXPECT_EQ(error_of([&] { choose_target(find_targets(host), "/other"); }).kind(), ErrorKind::not_found);
}

TEST(Targets, of_one_name_are_told_apart_by_their_filesystems) {
  machine::Picture host = make_host();
  host.lvs[0].tags = {kTargetTag};
  const std::string mark = "defaults,nofail,x-respaldo.target=vg0/root";
  host.fstab = {{"UUID=" + host.devices[0].content.uuid, "/", "ext4", mark, 0, 2},
                {"UUID=1", "/backups2", "ext4", mark, 0, 2}};
  const auto targets = find_targets(host);
  ASSERT_THAT(targets, SizeIs(2));
  EXPECT_TRUE(targets[0].there);
  EXPECT_FALSE(targets[1].there);
  EXPECT_EQ(choose_target(targets, "vg0/root").mount_point, "/");
  EXPECT_EQ(choose_target(targets, "/backups2").fstab->source, "UUID=1");
  EXPECT_EQ(error_of([&] { plan_removal(host, choose_target(targets, "/backups2"), "vg0/root"); }).kind(),
            ErrorKind::not_found);
  std::swap(host.fstab[0], host.fstab[1]);
  EXPECT_EQ(choose_target(find_targets(host), "vg0/root").mount_point, "/");
}

TEST(Targets, data_that_the_line_in_fstab_does_not_name_stays) {
  machine::Picture host = make_host();
  host.lvs[0].tags = {kTargetTag};
  host.fstab = {{"UUID=1", "/backups", "ext4", "defaults,nofail,x-respaldo.target=vg0/root", 0, 2}};
  const auto removal = [&](const char* wipe) { return plan_removal(host, find_targets(host).at(0), wipe); };
  EXPECT_THAT(error_of([&] { removal("vg0/root"); }).what(), HasSubstr("names UUID=1, but"));
  EXPECT_NO_THROW(removal(""));
  host.fstab[0].source = "UUID=" + host.devices[0].content.uuid;
  EXPECT_EQ(removal("vg0/root").wipe, "vg0/root");
  host.lvs[0].active = "";
  EXPECT_EQ(error_of([&] { removal("vg0/root"); }).kind(), ErrorKind::missing);
}

TEST(Targets, data_goes_only_when_it_is_named) {
  machine::Picture host = make_host();
  host.lvs[0].tags = {kTargetTag};
  const Target target = find_targets(host).at(0);
  EXPECT_THAT(plan_removal(host, target, "").wipe, IsEmpty());
  EXPECT_EQ(error_of([&] { plan_removal(host, target, "vg0/other"); }).kind(), ErrorKind::refused);
  // In somebody's group nothing but the volume goes.
  EXPECT_FALSE(plan_removal(host, target, "vg0/root").whole_group);
  EXPECT_THAT(plan_removal(host, target, "vg0/root").free_pvs, IsEmpty());
  host.vgs[0].tags = {kTargetTag};
  EXPECT_TRUE(plan_removal(host, target, "vg0/root").whole_group);
  EXPECT_THAT(plan_removal(host, target, "vg0/root").free_pvs, ElementsAre("/dev/sda1"));
  host.lvs.push_back(machine::make_snapshot(1 << 20));
  EXPECT_EQ(error_of([&] { plan_removal(host, target, "vg0/root"); }).kind(), ErrorKind::refused);
}

TEST(Targets, what_changed_since_it_was_shown_is_not_removed) {
  machine::Picture host = make_host();
  host.lvs[0].tags = {kTargetTag};
  host.vgs[0].tags = {kTargetTag};
  const auto plan = [&] { return plan_removal(host, find_targets(host).at(0), "vg0/root"); };
  const RemovalPlan shown = plan();
  require_unchanged(shown, plan());
  host.mounts[0].available = 1;
  EXPECT_NO_THROW(require_unchanged(shown, plan())) << "how full it is does not matter";
  const machine::Picture before = host;
  const auto changed = [&](auto change) {
    change();
    const Error error = error_of([&] { require_unchanged(shown, plan()); });
    host = before;
    return error.kind() == ErrorKind::refused;
  };
  EXPECT_TRUE(changed([&] { host.vgs[0].lv_count = 2; })) << "somebody made a volume in the group";
  EXPECT_TRUE(changed([&] { host.lvs[0].uuid = "other"; }));
  EXPECT_TRUE(changed([&] { host.mounts.clear(); }));
  EXPECT_TRUE(changed([&] { host.devices[0].content.uuid = "other"; }));
}

}  // namespace
}  // namespace respaldo::provision
