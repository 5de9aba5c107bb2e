// What the verbs print. The shapes are those of lvm2 2.03.16: tests/lvm/transcript.sh compares them with it.
#include "cli/lvm/lvm_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/units.h"
#include "os/file.h"

namespace respaldo::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class LvmVerbsOnImages : public ::testing::Test {
 protected:
  // As large as the disks of the classic text, and nearly empty.
  void add_image(const std::string& name, std::uint64_t size) {
    const os::Path path = folder_.path() / name;
    std::ofstream(path).close();
    std::filesystem::resize_file(path, size);
    images_.push_back(path);
  }

  int run(std::vector<std::string> argv) {
    out_.clear();
    err_.clear();
    LvmWorld world;
    world.print = [this](std::string_view line) { out_ += std::string(line) + "\n"; };
    world.warn = [this](std::string_view line) { err_ += std::string(line) + "\n"; };
    world.confirm = [this](std::string_view) { return answer_; };
    world.active = active_;
    world.is_open = [](const engine::VolumeName&) { return false; };
    world.has_died = [this](const engine::VolumeName& name) { return name.lv == dead_; };
    const auto disks = engine::DiskSet::open(
        images_, lvm_verb_writes(argv) ? engine::LockMode::exclusive : engine::LockMode::shared);
    return run_lvm_verb(argv, *disks, world);
  }
  // Runs it, wants success, and returns what was printed, UUIDs and times replaced.
  std::string said(std::vector<std::string> argv) {
    const std::string verb = argv.front();
    EXPECT_EQ(run(std::move(argv)), 0) << verb << ": " << err_;
    std::string text =
        std::regex_replace(out_, std::regex("[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}"), "UUID");
    return std::regex_replace(text, std::regex("(Creation host, time) .*"), "$1 X");
  }

  // The server of the classic text: a root of 9.30 GiB and a snapshot with a store of 10 GiB.
  void make_server() {
    add_image("sda5", 20 * kGiB);
    add_image("sdb1", 36 * kGiB);
    said({"vgcreate", "server1", "sda5"});
    said({"lvcreate", "-l", "2381", "-nroot", "server1"});
    said({"pvcreate", "sdb1"});
    said({"vgextend", "server1", "sdb1"});
    said({"lvcreate", "-L30G", "-nbackups", "server1", "sdb1"});
    EXPECT_EQ(said({"lvcreate", "-L10G", "-s", "-n", "rootsnapshot", "/dev/server1/root"}),
              "  COW size 10.00 GiB is more than this snapshot can ever use: <9.34 GiB would do.\n"
              "  Logical volume \"rootsnapshot\" created.\n");
  }

  os::TemporaryFolder folder_;
  std::vector<os::Path> images_;
  std::string out_, err_;
  bool answer_ = true, active_ = false;
  std::string dead_;
};

// Its store could not be marked.
TEST_F(LvmVerbsOnImages, a_snapshot_that_died_is_shown_invalid_whatever_its_store_says) {
  make_server();
  active_ = true;
  const std::vector<std::string> lvs = {"lvs", "--noheadings", "-o", "lv_attr,data_percent", "server1/rootsnapshot"};
  EXPECT_EQ(said(lvs), "  swi-a-s--- 0.00  \n");
  dead_ = "rootsnapshot";
  EXPECT_EQ(said(lvs), "  swi-I-s--- 100.00\n");
}

TEST_F(LvmVerbsOnImages, lvdisplay_of_an_origin_and_its_snapshot) {
  make_server();
  active_ = true;
  EXPECT_EQ(said({"lvdisplay", "server1/root", "server1/rootsnapshot"}),
            "  --- Logical volume ---\n"
            "  LV Path                /dev/server1/root\n"
            "  LV Name                root\n"
            "  VG Name                server1\n"
            "  LV UUID                UUID\n"
            "  LV Write Access        read/write\n"
            "  LV Creation host, time X\n"
            "  LV snapshot status     source of\n"
            "                         rootsnapshot [active]\n"
            "  LV Status              available\n"
            "  # open                 0\n"
            "  LV Size                9.30 GiB\n"
            "  Current LE             2381\n"
            "  Segments               1\n"
            "  Allocation             inherit\n"
            "  Read ahead sectors     auto\n"
            "   \n"
            "  --- Logical volume ---\n"
            "  LV Path                /dev/server1/rootsnapshot\n"
            "  LV Name                rootsnapshot\n"
            "  VG Name                server1\n"
            "  LV UUID                UUID\n"
            "  LV Write Access        read/write\n"
            "  LV Creation host, time X\n"
            "  LV snapshot status     active destination for root\n"
            "  LV Status              available\n"
            "  # open                 0\n"
            "  LV Size                9.30 GiB\n"
            "  Current LE             2381\n"
            "  COW-table size         10.00 GiB\n"
            "  COW-table LE           2560\n"
            "  Allocated to snapshot  0.00%\n"
            "  Snapshot chunk size    4.00 KiB\n"
            "  Segments               1\n"
            "  Allocation             inherit\n"
            "  Read ahead sectors     auto\n"
            "   \n");
}

TEST_F(LvmVerbsOnImages, pvdisplay_and_vgdisplay) {
  add_image("sdb1", 36 * kGiB);
  said({"pvcreate", "sdb1"});
  EXPECT_EQ(said({"pvdisplay"}),
            "  \"sdb1\" is a new physical volume of \"36.00 GiB\"\n"
            "  --- NEW Physical volume ---\n"
            "  PV Name               sdb1\n"
            "  VG Name               \n"
            "  PV Size               36.00 GiB\n"
            "  Allocatable           NO\n"
            "  PE Size               0   \n"
            "  Total PE              0\n"
            "  Free PE               0\n"
            "  Allocated PE          0\n"
            "  PV UUID               UUID\n"
            "   \n");
  said({"vgcreate", "server1", "sdb1"});
  said({"lvcreate", "-L30G", "-nbackups", "server1"});
  EXPECT_EQ(said({"pvdisplay", "-m"}),
            "  --- Physical volume ---\n"
            "  PV Name               sdb1\n"
            "  VG Name               server1\n"
            "  PV Size               36.00 GiB / not usable 4.00 MiB\n"
            "  Allocatable           yes \n"
            "  PE Size               4.00 MiB\n"
            "  Total PE              9215\n"
            "  Free PE               1535\n"
            "  Allocated PE          7680\n"
            "  PV UUID               UUID\n"
            "   \n"
            "  --- Physical Segments ---\n"
            "  Physical extent 0 to 7679:\n"
            "    Logical volume\t/dev/server1/backups\n"
            "    Logical extents\t0 to 7679\n"
            "  Physical extent 7680 to 9214:\n"
            "    FREE\n"
            "   \n");
  EXPECT_EQ(said({"vgdisplay"}),
            "  --- Volume group ---\n"
            "  VG Name               server1\n"
            "  System ID             \n"
            "  Format                lvm2\n"
            "  Metadata Areas        1\n"
            "  Metadata Sequence No  2\n"
            "  VG Access             read/write\n"
            "  VG Status             resizable\n"
            "  MAX LV                0\n"
            "  Cur LV                1\n"
            "  Open LV               0\n"
            "  Max PV                0\n"
            "  Cur PV                1\n"
            "  Act PV                1\n"
            "  VG Size               <36.00 GiB\n"
            "  PE Size               4.00 MiB\n"
            "  Total PE              9215\n"
            "  Alloc PE / Size       7680 / 30.00 GiB\n"
            "  Free  PE / Size       1535 / <6.00 GiB\n"
            "  VG UUID               UUID\n"
            "   \n");
}

TEST_F(LvmVerbsOnImages, reports_line_up) {
  make_server();
  EXPECT_EQ(said({"lvs"}),
            "  LV           VG      Attr       LSize  Pool Origin Data%  Meta%  Move Log Cpy%Sync Convert\n"
            "  backups      server1 -wi------- 30.00g                                                    \n"
            "  root         server1 owi---s---  9.30g                                                    \n"
            "  rootsnapshot server1 swi---s--- 10.00g      root   0.00                                   \n");
  EXPECT_EQ(said({"pvs"}),
            "  PV         VG      Fmt  Attr PSize   PFree  \n"
            "  sda5       server1 lvm2 a--  <20.00g 712.00m\n"
            "  sdb1       server1 lvm2 a--  <36.00g  <6.00g\n");
  EXPECT_EQ(said({"vgs"}),
            "  VG      #PV #LV #SN Attr   VSize  VFree\n"
            "  server1   2   3   1 wz--n- 55.99g 6.69g\n");
  EXPECT_EQ(said({"lvs", "--noheadings", "--separator", ",", "--units", "b", "--nosuffix", "-o",
                  "lv_name,lv_size", "-S", "origin=root"}),
            "  rootsnapshot,10737418240\n");
}

TEST_F(LvmVerbsOnImages, json_is_json) {
  make_server();
  const auto report = nlohmann::json::parse(said({"lvs", "--reportformat", "json", "-o", "lv_name,lv_tags"}));
  const auto& rows = report.at("report").at(0).at("lv");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows.at(2).at("lv_name"), "rootsnapshot");
}

TEST_F(LvmVerbsOnImages, exit_codes_are_those_of_lvm2) {
  add_image("a.img", 64 * kMiB);
  EXPECT_EQ(run({"vgcreate", "vg0", "a.img"}), 0);
  EXPECT_EQ(run({"lvs", "vg1"}), 5);
  EXPECT_THAT(err_, AllOf(HasSubstr("  Volume group \"vg1\" not found\n  Cannot process volume group vg1\n"),
                          HasSubstr("(there is: vg0)")));
  EXPECT_EQ(run({"frobnicate"}), 2);
  EXPECT_EQ(run({}), 2);
  EXPECT_EQ(run({"lvcreate", "vg0"}), 3);
  EXPECT_EQ(err_,
            "  No command with matching syntax recognised.  Run 'lvcreate --help' for more information.\n");
  EXPECT_EQ(run({"vgextend", "vg0"}), 3);
  EXPECT_THAT(err_, HasSubstr("  Correct command syntax is:\n  vgextend VG PV ...\n"));
  EXPECT_EQ(run({"lvcreate", "-L", "1M", "-l", "1", "vg0"}), 3);
  EXPECT_THAT(err_, HasSubstr("  Run `lvcreate --help' for more information.\n"));
  EXPECT_EQ(run({"lvcreate", "-L", "many", "vg0"}), 3);
  EXPECT_THAT(err_, AllOf(HasSubstr("  Invalid argument for --size: many\n"),
                          HasSubstr("  Error during parsing of command line.\n")));
  EXPECT_EQ(run({"lvcreate", "-L", "1G", "vg0"}), 5);
}

TEST_F(LvmVerbsOnImages, no_is_no_and_yes_is_not_asked) {
  add_image("a.img", 64 * kMiB);
  said({"vgcreate", "vg0", "a.img"});
  said({"lvcreate", "-l4", "-n", "root", "vg0"});
  answer_ = false;
  EXPECT_EQ(run({"lvreduce", "-l", "2", "vg0/root"}), 5);
  EXPECT_EQ(run({"vgremove", "vg0"}), 5);
  EXPECT_EQ(said({"lvreduce", "-y", "-l", "2", "vg0/root"}),
            "  Size of logical volume vg0/root changed from 16.00 MiB (4 extents) to 8.00 MiB (2 extents).\n"
            "  Logical volume vg0/root successfully resized.\n");
  EXPECT_EQ(said({"vgremove", "-f", "vg0"}),
            "  Logical volume \"root\" successfully removed.\n"
            "  Volume group \"vg0\" successfully removed\n");
}

TEST_F(LvmVerbsOnImages, a_backup_of_the_metadata_is_a_file) {
  add_image("a.img", 64 * kMiB);
  said({"vgcreate", "vg0", "a.img"});
  said({"lvcreate", "-l4", "-n", "root", "vg0"});
  const std::string file = (folder_.path() / "vg0.backup").native();
  said({"vgcfgbackup", "-f", file, "vg0"});
  EXPECT_THAT(os::read_text(file), HasSubstr("root {"));
  said({"lvremove", "-f", "vg0/root"});
  EXPECT_EQ(run({"vgcfgrestore", "vg0"}), 3);
  EXPECT_EQ(said({"vgcfgrestore", "-f", file, "vg0"}), "  Restored volume group vg0.\n");
  EXPECT_THAT(said({"lvs", "--noheadings", "-o", "lv_name"}), HasSubstr("root"));
}

TEST_F(LvmVerbsOnImages, hostile_names_do_not_reach_the_terminal) {
  add_image("a.img", 64 * kMiB);
  said({"vgcreate", "vg0", "a.img"});
  for (const auto& argv : std::vector<std::vector<std::string>>{{"lvs", "\x1b[31m"},
                                                                {"vgs", "a\nb"},
                                                                {"\x1b]0;x\a"},
                                                                {"lvs", "-S", "\x1b=3"},
                                                                {"lvs", "-o", "\x1b"},
                                                                {"pvs", "\x1b.img"},
                                                                {"lvs", "--\x1b"}}) {
    EXPECT_NE(run(argv), 0);
    EXPECT_THAT(err_ + out_, AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\a"))));
  }
}

TEST_F(LvmVerbsOnImages, volumes_are_not_activated_here) {
  add_image("a.img", 64 * kMiB);
  said({"vgcreate", "vg0", "a.img"});
  EXPECT_EQ(run({"vgchange", "-ay", "vg0"}), 5);
  EXPECT_THAT(err_, HasSubstr("activate DIR"));
}

TEST(LvmHelp, every_verb_has_some) {
  const auto all = lvm_help({});
  ASSERT_TRUE(all);
  for (const char* verb : {"lvcreate", "lvs", "pvmove", "vgrename"}) {
    EXPECT_THAT(*all, HasSubstr(verb));
    const auto one = lvm_help({verb, "--help"});
    ASSERT_TRUE(one);
    EXPECT_EQ(*one, *lvm_help({"help", verb}));
    EXPECT_TRUE(is_lvm_verb(verb));
  }
  EXPECT_FALSE(lvm_help({"lvs"}));
  EXPECT_FALSE(is_lvm_verb("backup"));
}

}  // namespace
}  // namespace respaldo::cli
