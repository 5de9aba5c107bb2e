#include "machine/system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/sysmacros.h>

#include <fstream>

#include "machine/sysfs.h"
#include "machine/tables.h"
#include "testing/replay_runner.h"

namespace respaldo::machine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A made-up /sys, /proc and /etc.
class Host : public ::testing::Test {
 protected:
  void file(const std::string& name, const std::string& text) {
    const os::Path path = folder_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void link(const std::string& name, const std::string& target) {
    const os::Path path = folder_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::filesystem::create_directories(folder_.path() / target);
    std::filesystem::create_directory_symlink(folder_.path() / target, path);
  }
  void usb_disk() {
    link("sys/block/sdb", "sys/devices/pci0/usb2/2-1/host6/block/sdb");
    file("sys/block/sdb/dev", "8:16\n");
    file("sys/block/sdb/size", "4194304\n");
    file("sys/block/sdb/removable", "1\n");
    file("sys/block/sdb/queue/logical_block_size", "512\n");
    file("sys/block/sdb/queue/physical_block_size", "4096\n");
    file("sys/block/sdb/queue/optimal_io_size", "33553920\n");
    file("sys/block/sdb/device/vendor", "WD      \n");
    file("sys/block/sdb/device/model", "Elements 25A2   \n");
    file("udev/b8:16", "E:ID_BUS=usb\nE:ID_SERIAL_SHORT=575\n");
    for (const char* number : {"10", "2"}) {
      const std::string part = std::string("sys/block/sdb/sdb") + number;
      file(part + "/partition", number);
      file(part + "/dev", std::string("8:") + number);
      file(part + "/size", "2048\n");
      file(part + "/start", "2048\n");
    }
    std::filesystem::create_directories(folder_.path() / "sys/block/sdb/sdb2/holders/dm-0");
  }
  void volume() {
    file("sys/block/dm-0/dev", "253:0\n");
    file("sys/block/dm-0/size", "2048\n");
    file("sys/block/dm-0/dm/name", "my--vg-root\n");
    file("sys/block/dm-0/dm/uuid", "LVM-" + std::string(64, 'x') + "\n");
    file("sys/block/dm-0/dm/suspended", "0\n");
    std::filesystem::create_directories(folder_.path() / "sys/block/dm-0/slaves/sdb2");
  }
  std::vector<Device> devices() {
    return read_block_devices(folder_.path() / "sys", folder_.path() / "udev");
  }
  os::TemporaryFolder folder_;
};

TEST_F(Host, the_disks_below_a_volume_are_found) {
  const auto device = [this](const std::string& name, const std::string& number, const std::string& at) {
    link("sys/class/block/" + name, at);
    link("sys/dev/block/" + number, at);
  };
  device("sda", "8:0", "sys/devices/a/block/sda");
  device("sda2", "8:2", "sys/devices/a/block/sda/sda2");
  file("sys/devices/a/block/sda/sda2/partition", "2");
  device("sdb", "8:16", "sys/devices/b/block/sdb");
  device("dm-0", "253:0", "sys/devices/virtual/block/dm-0");
  device("dm-1", "253:1", "sys/devices/virtual/block/dm-1");
  link("sys/devices/virtual/block/dm-0/slaves/dm-1", "sys/devices/virtual/block/dm-1");
  link("sys/devices/virtual/block/dm-1/slaves/sda2", "sys/devices/a/block/sda/sda2");
  link("sys/devices/virtual/block/dm-1/slaves/sdb", "sys/devices/b/block/sdb");
  const os::Path sys = folder_.path() / "sys";
  EXPECT_THAT(disks_holding(makedev(253, 0), sys), ElementsAre("sda", "sdb"));
  EXPECT_THAT(disks_holding(makedev(8, 2), sys), ElementsAre("sda"));
  EXPECT_THAT(disks_holding(makedev(8, 16), sys), ElementsAre("sdb"));
  EXPECT_TRUE(disks_holding(makedev(0, 31), sys).empty());
  // One that lies on itself ends, too.
  link("sys/devices/virtual/block/dm-1/slaves/dm-0", "sys/devices/virtual/block/dm-0");
  EXPECT_THAT(disks_holding(makedev(253, 0), sys), ElementsAre("sda", "sdb"));
}

TEST_F(Host, what_a_driver_prints_of_nothing_is_nothing) {
  file("sys/block/ubda/dev", "98:0\n");
  file("sys/block/ubda/size", "8192\n");
  file("sys/block/ubda/device/serial", "(null)\n");
  file("sys/block/ubda/device/model", "(null)\n");
  ASSERT_EQ(devices().size(), 1U);
  EXPECT_EQ(devices()[0].serial, "");
  EXPECT_EQ(devices()[0].model, "");
}

TEST_F(Host, disks_are_what_sysfs_says) {
  usb_disk();
  file("sys/block/ram0/size", "8192\n");
  file("sys/block/loop0/size", "0\n");
  const auto all = devices();
  ASSERT_EQ(all.size(), 3U);
  const Device& disk = all[0];
  EXPECT_EQ(disk.path, "/dev/sdb");
  EXPECT_EQ(disk.size, 2ULL << 30);
  EXPECT_EQ(disk.transport, "usb");
  EXPECT_EQ(disk.model, "WD Elements 25A2");
  EXPECT_EQ(disk.serial, "575");
  EXPECT_TRUE(disk.removable);
  EXPECT_EQ(disk.topology.physical_sector, 4096U);
  EXPECT_EQ(disk.topology.optimal_io, 33553920U);
  EXPECT_EQ(all[1].name, "sdb2") << "in the order of people, not of strings";
  EXPECT_EQ(all[1].start, 1U << 20);
  EXPECT_THAT(all[1].children, ElementsAre("dm-0"));
  EXPECT_THAT(disk.children, ElementsAre("sdb2", "sdb10"));
}

TEST_F(Host, volumes_have_all_their_names) {
  volume();
  const auto all = devices();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].kind, DeviceKind::lvm);
  EXPECT_THAT(all[0].other_paths, ElementsAre("/dev/my-vg/root", "/dev/mapper/my--vg-root"));
  EXPECT_EQ(all[0].shown_path(), "/dev/my-vg/root");
  file("sys/block/dm-0/dm/uuid", "LVM-" + std::string(64, 'x') + "-cow\n");
  EXPECT_THAT(devices()[0].other_paths, ElementsAre("/dev/mapper/my--vg-root"))
      << "an inner layer has no /dev/VG/LV";
}

TEST_F(Host, an_empty_or_strange_sysfs_gives_what_there_is) {
  EXPECT_TRUE(devices().empty());
  file("sys/block/sda/size", "not a number\n");
  file("sys/block/sdc/size", "8\n");
  file("sys/block/sdc/queue/physical_block_size", "x\n");
  const auto all = devices();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].topology.physical_sector, 512U);
}

TEST_F(Host, tables_are_read_by_libmount) {
  file("mountinfo",
       "26 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/my--vg-root rw\n"
       "40 26 8:2 / /mnt/with\\040blank ro - xfs /dev/sdb2 rw\n");
  const auto mounts = read_mounts(folder_.path() / "mountinfo");
  ASSERT_EQ(mounts.size(), 2U);
  EXPECT_EQ(mounts[1].target, "/mnt/with blank");
  EXPECT_EQ(mounts[1].major, 8U);
  file("swaps",
       "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/dm-1                               "
       "partition\t1048572\t\t512\t\t-2\n");
  const auto swaps = read_swaps(folder_.path() / "swaps");
  ASSERT_EQ(swaps.size(), 1U);
  EXPECT_EQ(swaps[0].used, 512U << 10);
  file("fstab",
       "# comment\nUUID=12 / ext4 defaults 0 1\nnonsense\nLABEL=a\\040b /x\\040y xfs "
       "nofail,x-systemd.device-timeout=5s 0 2\n");
  const auto fstab = read_fstab(folder_.path() / "fstab");
  ASSERT_EQ(fstab.entries.size(), 2U);
  EXPECT_THAT(fstab.bad_lines, ElementsAre(3U));
  EXPECT_EQ(fstab.entries[1].source, "LABEL=a b");
  EXPECT_EQ(fstab.entries[1].target, "/x y");
  EXPECT_TRUE(fstab.entries[1].has_option("nofail"));
  EXPECT_EQ(fstab.entries[1].option_value("x-systemd.device-timeout"), "5s");
  EXPECT_FALSE(fstab.entries[1].has_option("nof"));
  EXPECT_TRUE(read_fstab(folder_.path() / "nothing").entries.empty());
}

TEST_F(Host, the_picture_is_whole_even_without_lvm2) {
  usb_disk();
  volume();
  file("mountinfo", "26 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/my--vg-root rw\n");
  Places places{.sys = folder_.path() / "sys",
                .udev = folder_.path() / "udev",
                .mountinfo = folder_.path() / "mountinfo",
                .swaps = folder_.path() / "swaps",
                .fstab = folder_.path() / "fstab",
                .ask_free_space = false};
  places.probe = [](const os::Path& path) {
    DiskContent found;
    if (path == "/dev/sdb") {
      found.content.partition_table = "gpt";
      found.partitions = {{2, "e6d6d379-f507-44c2-a23c-238f2a3df928", "Linux LVM", "backup", "uuid-2"}};
    } else if (path == "/dev/dm-0") {
      found.content.type = "ext4";
    } else if (path == "/dev/sdb10") {
      found.content.unreadable = "Input/output error";
    }
    return found;
  };
  testing::ReplayRunner runner;
  for (const char* verb : {"lvs", "vgs", "pvs"})
    runner.on({verb},
              os::CommandResult{
                  .exit_code = 5,
                  .out = "",
                  .err = "  WARNING: Running as a non-root user. Functionality may be unavailable.\n"});
  const Picture picture = read_picture(places, runner);
  EXPECT_FALSE(picture.lvm_known);
  EXPECT_EQ(find_device(picture, "sdb2")->part_type_name, "Linux LVM");
  EXPECT_EQ(resolve(picture, "PARTLABEL=backup")->name, "sdb2");
  EXPECT_EQ(mounts_of(picture, *find_device(picture, "dm-0")).size(), 1U);
  EXPECT_EQ(disks_below(picture, *find_device(picture, "dm-0")).at(0)->name, "sdb");
  ASSERT_EQ(picture.warnings.size(), 2U);
  EXPECT_THAT(picture.warnings[0], HasSubstr("LVM could not be looked at"));
  EXPECT_THAT(picture.warnings[1], HasSubstr("/dev/sdb10: Input/output error"));
}

}  // namespace
}  // namespace respaldo::machine
