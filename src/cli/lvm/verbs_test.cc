// lvm2's verbs, options, words and exit codes; the shapes are compared with real lvm2 in tests/interop.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>

#include "cli/lvm/lvm_command.h"
#include "os/file.h"

namespace respaldo::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Said {
  int code = -1;
  std::string out, err;
};

// Two empty disks of 25 extents, in the current folder.
class Verbs : public ::testing::Test {
 protected:
  Verbs() : before_(std::filesystem::current_path()) {
    std::filesystem::current_path(folder_.path());
    for (const char* name : {"a.img", "b.img"}) {
      std::ofstream(name).close();
      std::filesystem::resize_file(name, 104U << 20);
    }
  }
  ~Verbs() override { std::filesystem::current_path(before_); }

  Said run(std::vector<std::string> words) {
    Said said;
    LvmWorld world;
    world.print = [&](std::string_view line) { said.out += std::string(line) + "\n"; };
    world.warn = [&](std::string_view line) { said.err += std::string(line) + "\n"; };
    world.confirm = [](std::string_view) { return false; };
    const auto disks = engine::DiskSet::open(
        {"a.img", "b.img"}, lvm_verb_writes(words) ? engine::LockMode::exclusive : engine::LockMode::shared);
    said.code = run_lvm_verb(words, *disks, world);
    return said;
  }
  // "lvs -o lv_name": words apart by blanks.
  Said lvm(const std::string& line) {
    std::vector<std::string> words;
    std::istringstream in(line);
    for (std::string word; in >> word;) words.push_back(word);
    return run(std::move(words));
  }
  std::string must(const std::string& line) {
    const Said said = lvm(line);
    EXPECT_EQ(said.code, 0) << line << "\n" << said.err;
    return said.out;
  }
  void refuses(const std::string& line, int code, const std::string& words) {
    const Said said = lvm(line);
    EXPECT_EQ(said.code, code) << line;
    EXPECT_THAT(said.err, HasSubstr(words)) << line;
  }
  std::string extents(const std::string& lv) {
    std::string out = must("lvs --noheadings -o lv_size --units 4m --nosuffix vg0/" + lv);
    return std::regex_replace(out, std::regex("\\s|\\.00"), "");
  }

 private:
  os::TemporaryFolder folder_;
  os::Path before_;
};

// Once with two volumes and a snapshot.
class VerbsOnGroup : public Verbs {
 protected:
  VerbsOnGroup() {
    must("vgcreate vg0 a.img b.img");
    must("lvcreate -L 40M -n root vg0");
    must("lvcreate -s -L 12M -n snap vg0/root");
  }
};

std::string without_uuids(const std::string& text) {
  return std::regex_replace(text, std::regex("[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}"), "UUID");
}

TEST_F(VerbsOnGroup, tables_have_lvm2s_columns) {
  EXPECT_EQ(must("lvs"),
            "  LV   VG  Attr       LSize  Pool Origin Data%  Meta%  Move Log Cpy%Sync Convert\n"
            "  root vg0 owi---s--- 40.00m                                                    \n"
            "  snap vg0 swi---s--- 12.00m      root   0.00                                   \n");
  EXPECT_EQ(must("vgs"),
            "  VG  #PV #LV #SN Attr   VSize   VFree  \n"
            "  vg0   2   2   1 wz--n- 200.00m 148.00m\n");
  EXPECT_EQ(must("pvs"),
            "  PV         VG  Fmt  Attr PSize   PFree  \n"
            "  a.img      vg0 lvm2 a--  100.00m  48.00m\n"
            "  b.img      vg0 lvm2 a--  100.00m 100.00m\n");
  EXPECT_EQ(must("lvs --noheadings --separator , -o lv_name,devices --units b --nosuffix vg0/root"),
            "  root,a.img(0)\n");
  EXPECT_EQ(must("vgs --reportformat json -o vg_name,lv_count"),
            "  {\n      \"report\": [\n          {\n              \"vg\": [\n"
            "                  {\"vg_name\":\"vg0\", \"lv_count\":\"2\"}\n"
            "              ]\n          }\n      ]\n  }\n");
}

TEST_F(VerbsOnGroup, display_verbs_speak_line_by_line) {
  EXPECT_EQ(without_uuids(must("vgdisplay vg0")),
            "  --- Volume group ---\n"
            "  VG Name               vg0\n"
            "  System ID             \n"
            "  Format                lvm2\n"
            "  Metadata Areas        2\n"
            "  Metadata Sequence No  3\n"
            "  VG Access             read/write\n"
            "  VG Status             resizable\n"
            "  MAX LV                0\n"
            "  Cur LV                2\n"
            "  Open LV               0\n"
            "  Max PV                0\n"
            "  Cur PV                2\n"
            "  Act PV                2\n"
            "  VG Size               200.00 MiB\n"
            "  PE Size               4.00 MiB\n"
            "  Total PE              50\n"
            "  Alloc PE / Size       13 / 52.00 MiB\n"
            "  Free  PE / Size       37 / 148.00 MiB\n"
            "  VG UUID               UUID\n"
            "   \n");
  EXPECT_EQ(without_uuids(must("pvdisplay a.img")),
            "  --- Physical volume ---\n"
            "  PV Name               a.img\n"
            "  VG Name               vg0\n"
            "  PV Size               104.00 MiB / not usable 4.00 MiB\n"
            "  Allocatable           yes \n"
            "  PE Size               4.00 MiB\n"
            "  Total PE              25\n"
            "  Free PE               12\n"
            "  Allocated PE          13\n"
            "  PV UUID               UUID\n"
            "   \n");
  EXPECT_THAT(
      must("lvdisplay vg0/snap"),
      AllOf(HasSubstr("  LV Path                /dev/vg0/snap\n"),
            HasSubstr("  LV snapshot status     active destination for root\n"),
            HasSubstr("  LV Size                40.00 MiB\n"),
            HasSubstr("  COW-table size         12.00 MiB\n"), HasSubstr("  COW-table LE           3\n"),
            HasSubstr("  Allocated to snapshot  0.00%\n"), HasSubstr("  Snapshot chunk size    4.00 KiB\n")));
  EXPECT_THAT(must("lvdisplay vg0/root"), HasSubstr("  LV snapshot status     source of\n"
                                                    "                         snap [active]\n"));
}

TEST_F(Verbs, options_may_be_clustered_joined_and_abbreviated) {
  must("vgcreate -s4m vg0 a.img b.img");
  must("lvcreate -ntestlv -L8 vg0");  // a number is in MiB
  EXPECT_EQ(extents("testlv"), "2");
  must("lvcreate -qysnsnap1 --siz=8m --chunk 8k vg0/testlv");
  EXPECT_THAT(must("lvs --nohe -o chunk_size vg0/snap1"), HasSubstr(" 8.00k"));
  must("lvcreate --name=third --ext 3 vg0 b.img");
  EXPECT_THAT(must("lvs --noheadings -o devices vg0/third"), HasSubstr("b.img(0)"));
  refuses("lvcreate --n x -L 4m vg0", 3, "lvcreate: option '--n' is ambiguous; possibilities: '--n");
  refuses("lvcreate --frob", 3, "lvcreate: unrecognized option '--frob'\n  Error during parsing");
  refuses("lvcreate -L", 3, "lvcreate: option requires an argument -- 'L'");
  refuses("lvcreate --snapshot=yes vg0", 3, "doesn't allow an argument");
  refuses("nosuch", 2, "No such command.  Try 'lvm help'.");
}

TEST_F(Verbs, extents_are_counted_in_percents) {
  must("vgcreate vg0 a.img b.img");
  must("lvcreate -l 50%VG -n half vg0");
  EXPECT_EQ(extents("half"), "25");
  must("lvcreate -l 20%FREE -n fifth vg0");
  EXPECT_EQ(extents("fifth"), "5");
  must("lvcreate -l 10 -n ten vg0");
  must("lvcreate -s -l 50%ORIGIN -n snap vg0/ten");
  EXPECT_EQ(extents("snap"), "6") << "half of the origin, and what the store needs for itself";
  refuses("lvextend -l +40%FREE vg0/ten", 5, "origin");
  must("lvremove vg0/snap");
  must("lvextend -l +40%FREE vg0/ten");  // of the 10 that are left
  EXPECT_EQ(extents("ten"), "14");
}

TEST_F(Verbs, all_that_is_free_on_chosen_pvs_is_taken) {
  must("vgcreate vg0 a.img b.img");
  must("lvcreate -l 100%PVS -n on_b vg0 b.img");
  EXPECT_EQ(extents("on_b"), "25");
  EXPECT_THAT(must("lvs --noheadings -o devices vg0/on_b"), HasSubstr(" b.img(0)"));
  must("lvcreate -l 4 -n on_a vg0 a.img:10-13");
  EXPECT_THAT(must("lvs --noheadings -o devices vg0/on_a"), HasSubstr(" a.img(10)"));
  must("lvextend -l +100%FREE vg0/on_a");
  EXPECT_EQ(extents("on_a"), "25");
  EXPECT_THAT(must("vgs --noheadings -o vg_free_count"), HasSubstr(" 0"));
  refuses("lvcreate -l 1 -n more vg0", 5,
          "Volume group \"vg0\" has insufficient free space (0 extents): 1 required.");
}

TEST_F(VerbsOnGroup, failures_have_lvm2s_words_and_codes) {
  refuses("lvs nope", 5, "Volume group \"nope\" not found");
  refuses("lvs vg0/none", 5, "Failed to find logical volume \"vg0/none\"");
  refuses("lvcreate -n x vg0", 3, "");
  refuses("lvcreate -L 1X -n x vg0", 3, "");
  refuses("lvcreate -L 4m -n root vg0", 5, "already exists");
  refuses("lvcreate -L 4m -n snapshot1 vg0", 3, "");
  refuses("lvcreate -L 1g -n x vg0", 5, "nsufficient");
  refuses("lvcreate -s -L 4m -n x vg0/snap", 5, "Snapshots of snapshots are not supported");
  refuses("lvcreate -s -c 3k -L 4m -n x vg0/root", 3, "");
  refuses("lvcreate -i 3 -L 12m -n x vg0", 5, "");
  refuses("lvremove vg0/none", 5, "none");
  refuses("lvrename vg0/root vg0/snap", 5, "already exists");
  refuses("lvrename vg0/root vg0/..", 3, "");
  refuses("vgcreate vg0 a.img", 5, "already exists");
  refuses("vgcreate vg1 a.img", 5, "already in volume group 'vg0'");
  refuses("pvcreate a.img", 5, "");
  refuses("pvremove a.img", 5, "");
  refuses("vgreduce vg0 a.img", 5, "still in use");
  refuses("vgremove vg0", 5, "not removed");
  refuses("pvs -o nothing", 3, "Unrecognised field: nothing");
  refuses("pvs --units x", 3, "");
  EXPECT_EQ(must("lvs --noheadings -o lv_name"), "  root\n  snap\n") << "nothing was changed";
}

TEST_F(VerbsOnGroup, a_test_changes_nothing) {
  const Said said = lvm("lvcreate -t -L 4m -n x vg0");
  EXPECT_EQ(said.code, 0);
  EXPECT_THAT(said.err, HasSubstr("TEST MODE"));
  must("lvremove -t vg0");
  must("vgremove -tff vg0");
  EXPECT_THAT(must("vgs --noheadings -o vg_seqno,lv_count"), HasSubstr("    3   2\n"));
}

TEST_F(VerbsOnGroup, an_origin_goes_with_its_snapshots) {
  EXPECT_EQ(must("lvremove -y vg0/root"),
            "  Logical volume \"snap\" successfully removed.\n"
            "  Logical volume \"root\" successfully removed.\n");
  EXPECT_THAT(must("lvs"), IsEmpty());
}

TEST_F(VerbsOnGroup, a_group_is_emptied_by_its_name) {
  must("lvcreate -L 8M -n other vg0");
  must("lvremove -y vg0");
  EXPECT_THAT(must("lvs"), IsEmpty());
  EXPECT_THAT(must("vgs --noheadings -o vg_free_count"), HasSubstr("50"));
}

TEST_F(Verbs, a_group_holds_no_more_volumes_than_it_may) {
  must("vgcreate -l 2 vg0 a.img");
  must("lvcreate -l 1 -n one vg0");
  must("lvcreate -l 1 -n two vg0");
  refuses("lvcreate -l 1 -n three vg0", 5,
          "Maximum number of logical volumes (2) reached in volume group vg0");
  refuses("lvcreate -s -l 1 -n three vg0/one", 5, "Maximum number of logical volumes (2) reached");
  must("lvextend -l +1 vg0/two");
  must("lvremove vg0/two");
  must("lvcreate -s -l 1 -n two vg0/one");
}

}  // namespace
}  // namespace respaldo::cli
