#include "machine/findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "journal/names.h"
#include "machine/doctor.h"
#include "machine/host_test.h"

namespace respaldo::machine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string kinds(const Findings& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    EXPECT_FALSE(finding.message.empty());
    text += (text.empty() ? "" : " ") + finding.kind;
  }
  return text;
}

TEST(Findings, a_sound_host_has_none) {
  EXPECT_EQ(kinds(find_all(make_host(), "/mnt/repository")), "repository_on_same_disk");
}

TEST(Findings, the_repository_is_told_from_the_volumes_by_its_disk) {
  Picture host = make_host();
  const Findings same = repository_on_same_disk(host, "/srv/repository");
  ASSERT_EQ(same.size(), 1U);
  EXPECT_THAT(same[0].message, HasSubstr("/dev/sda"));
  EXPECT_THAT(same[0].message, HasSubstr("vg0/root"));
  host.devices.back().content.type = "ext4";
  host.mounts.push_back({.target = "/srv", .source = "/dev/sdb", .type = "ext4"});
  EXPECT_THAT(repository_on_same_disk(host, "/srv/repository"), IsEmpty());
  // "/srvother" does not lie below "/srv".
  EXPECT_EQ(repository_on_same_disk(host, "/srvother").size(), 1U);
  EXPECT_THAT(repository_on_same_disk(host, ""), IsEmpty());
}

TEST(Findings, a_pv_between_two_physical_sectors_is_told) {
  Picture host = make_host();
  for (Device& device : host.devices) device.topology.physical_sector = 4096;
  EXPECT_THAT(misaligned_pvs(host), IsEmpty());
  host.pvs[0].data_start = 32256;
  EXPECT_THAT(misaligned_pvs(host).at(0).message, HasSubstr("32256"));
  host.pvs[0].data_start = 1U << 20;
  host.devices[2].topology.alignment_offset = 512;  // sda1 starts at sector 63
  EXPECT_THAT(misaligned_pvs(host).at(0).message, HasSubstr("between two physical sectors"));
  for (Device& device : host.devices) device.topology.physical_sector = 512;
  EXPECT_THAT(misaligned_pvs(host), IsEmpty());
}

TEST(Findings, a_group_of_several_disks_must_not_need_one_that_can_be_unplugged) {
  Picture host = make_host();
  host.devices[1].transport = "usb";
  EXPECT_THAT(groups_on_removable_disks(host), IsEmpty()) << "a group of its own comes and goes as a whole";
  engine::PvRow second = host.pvs[0];
  second.name = "/dev/sdb";
  host.pvs.push_back(second);
  EXPECT_EQ(groups_on_removable_disks(host).at(0).subject, "vg0");
}

TEST(Findings, lines_of_fstab_that_would_hang_the_boot) {
  Picture host = make_host();
  host.fstab = {{"UUID=11111111-2222-3333-4444-555555555555", "/", "ext4", "defaults", 0, 1},
                {"proc", "/proc", "proc", "defaults", 0, 0}};
  EXPECT_THAT(fstab_that_hangs_the_boot(host), IsEmpty());
  host.fstab = {{"UUID=dead", "/backups", "ext4", "defaults", 0, 2}};
  EXPECT_EQ(kinds(fstab_that_hangs_the_boot(host)), "fstab_device_missing");
  host.fstab = {{"UUID=dead", "/backups", "ext4", "defaults,nofail,x-systemd.device-timeout=10s", 0, 2}};
  EXPECT_EQ(kinds(fstab_that_hangs_the_boot(host)), "fstab_device_absent");
  host.fstab = {{"/dev/sdb", "/backups", "ext4", "defaults,nofail", 0, 2}};
  host.devices.back().content.uuid = "2222";
  EXPECT_THAT(fstab_that_hangs_the_boot(host).at(0).advice, HasSubstr("UUID=2222"));
  host.devices.back().removable = true;
  host.fstab = {{"LABEL=usb", "/backups", "ext4", "defaults", 0, 2}};
  host.devices.back().content.label = "usb";
  EXPECT_EQ(kinds(fstab_that_hangs_the_boot(host)), "fstab_removable_without_nofail");
}

TEST(Findings, snapshots_in_danger) {
  Picture host = make_host();
  host.lvs.push_back(make_snapshot(1ULL << 30));
  host.lvs[1].data_percent_x100 = 1000;
  EXPECT_EQ(kinds(endangered_snapshots(host)), "snapshot_can_overflow");
  host.lvs[1].size = cow_worst_case(4ULL << 30, 4096);
  EXPECT_THAT(endangered_snapshots(host), IsEmpty());
  host.lvs[1].data_percent_x100 = 8500;
  EXPECT_EQ(endangered_snapshots(host).at(0).severity, Severity::warning);
  host.lvs[1].data_percent_x100 = 9800;
  EXPECT_EQ(endangered_snapshots(host).at(0).severity, Severity::problem);
  host.lvs[1].snapshot_invalid = true;
  EXPECT_EQ(kinds(endangered_snapshots(host)), "snapshot_invalid");
}

TEST(Findings, the_worst_case_of_a_cow_store_is_the_kernels) {
  EXPECT_EQ(cow_worst_case(1U << 20, 4096), 259U * 4096);
  EXPECT_EQ(cow_worst_case(512U << 12, 4096), 516U * 4096);
}

TEST(Findings, what_a_dead_run_left_is_told_and_what_a_live_one_has_is_not) {
  Picture host = make_host();
  host.lvs.push_back(make_snapshot(1ULL << 30));
  EXPECT_THAT(stale_respaldo_snapshots(host), IsEmpty());
  host.lvs[1].tags = {"respaldo", journal::Owner::self().tag()};
  EXPECT_THAT(stale_respaldo_snapshots(host), IsEmpty());
  journal::Owner dead = journal::Owner::self();
  dead.start += 1;
  host.lvs[1].tags = {"respaldo", dead.tag()};
  EXPECT_EQ(kinds(stale_respaldo_snapshots(host)), "stale_snapshot");
  EXPECT_NE(stale_respaldo_snapshots(host).at(0).advice.find("`respaldo clean` removes it"),
            std::string::npos);
  dead.machine = dead.machine == "00000000" ? "00000001" : "00000000";
  host.lvs[1].tags = {"respaldo", dead.tag()};
  EXPECT_NE(stale_respaldo_snapshots(host).at(0).advice.find("`lvremove vg0/snap`"), std::string::npos)
      << "clean never touches what another machine made";
}

TEST(Findings, a_filesystem_mounted_from_a_snapshot) {
  Picture host = make_host();
  host.lvs.push_back(make_snapshot(1ULL << 30));
  Device device = make_disk("dm-3", 4ULL << 30);
  device.kind = DeviceKind::lvm;
  device.dm_uuid = "LVM-" + plain_uuid(kVgUuid) + plain_uuid(host.lvs[1].uuid);
  device.other_paths = {"/dev/vg0/snap"};
  host.devices.push_back(device);
  EXPECT_THAT(mounted_snapshots(host), IsEmpty());
  host.mounts.push_back({.target = "/mnt", .source = "/dev/vg0/snap"});
  EXPECT_EQ(mounted_snapshots(host).at(0).subject, "vg0/snap");
}

TEST(Findings, names_and_pvs_that_are_there_twice) {
  Picture host = make_host();
  engine::VgRow twin = host.vgs[0];
  twin.uuid = "another";
  host.vgs.push_back(twin);
  Device& sdb = host.devices.back();
  sdb.content.type = "LVM2_member";
  sdb.content.uuid = "PV1";
  EXPECT_EQ(kinds(duplicates(host)), "duplicate_group_name duplicate_pv_uuid");
  // A mirror over both disks shows the same PV once more, on top of them.
  host.vgs.pop_back();
  sdb.children = {"sda1"};
  EXPECT_THAT(duplicates(host), IsEmpty());
}

TEST(Findings, groups_that_lack_pvs_or_room) {
  Picture host = make_host();
  EXPECT_THAT(groups_without_room(host), IsEmpty());
  host.vgs[0].free = 0;
  EXPECT_EQ(kinds(groups_without_room(host)), "group_full");
  host.vgs[0].tags = {"backup_target"};
  EXPECT_THAT(groups_without_room(host), IsEmpty());
  host.vgs[0].missing_pvs = 1;
  host.lvs[0].health = "partial";
  EXPECT_THAT(missing_pvs(host).at(0).message, HasSubstr("damaged: vg0/root"));
}

TEST(Findings, a_pv_that_lvm2_does_not_show) {
  Picture host = make_host();
  EXPECT_THAT(hidden_pvs(host), IsEmpty());
  host.devices.back().content = {.type = "LVM2_member", .uuid = "PV2"};
  EXPECT_EQ(hidden_pvs(host).at(0).subject, "/dev/sdb");
  host.lvm_known = false;
  EXPECT_THAT(hidden_pvs(host), IsEmpty());
}

TEST(Findings, thin_pools_that_fill) {
  Picture host = make_host();
  host.lvs[0].segment_type = "thin-pool";
  host.lvs[0].data_percent_x100 = 5000;
  EXPECT_THAT(full_thin_pools(host), IsEmpty());
  host.lvs[0].metadata_percent_x100 = 9600;
  EXPECT_EQ(full_thin_pools(host).at(0).severity, Severity::problem);
}

TEST(Doctor, says_of_each_volume_whether_a_snapshot_would_have_room) {
  Picture host = make_host();
  DoctorFacts facts{.root = true, .lvm_version = "2.03.16(2)"};
  const auto severity_of = [&](const std::string& kind) {
    for (const Finding& finding : examine_host(host, facts))
      if (finding.kind == kind) return std::string(to_string(finding.severity));
    return std::string("absent");
  };
  EXPECT_EQ(severity_of("room_for_snapshot"), "ok");
  host.vgs[0].free = 8U << 20;
  EXPECT_EQ(severity_of("little_room_for_snapshot"), "warning");
  facts.cow["vg0/root"] = 4U << 20;
  EXPECT_EQ(severity_of("room_for_snapshot"), "ok") << "history says that it needs little";
  host.vgs[0].free = 0;
  EXPECT_EQ(severity_of("no_room_for_snapshot"), "problem");
  host.lvs[0].open = false;  // it is read from a snapshot all the same
  EXPECT_EQ(severity_of("no_room_for_snapshot"), "problem");
  facts.volumes = {"vg0/other"};
  EXPECT_EQ(severity_of("no_such_volume"), "problem");
  facts.root = false;
  facts.lvm_version.clear();
  EXPECT_EQ(severity_of("root"), "problem");
  EXPECT_EQ(severity_of("lvm2"), "problem");
}

TEST(Doctor, tells_what_bases_cost_and_leaves_moved_volumes_alone) {
  Picture host = make_host();
  const DoctorFacts facts{.root = true, .lvm_version = "2.03.16(2)"};
  const auto base = [&] {
    for (const Finding& finding : examine_host(host, facts))
      if (finding.kind == "base") return finding.message;
    return std::string();
  };
  EXPECT_EQ(base(), "");
  engine::LvRow snapshot = host.lvs[0];
  snapshot.name = "respaldo_0123456789abcdef";
  snapshot.attr = "swi-a-s---";
  snapshot.origin = host.lvs[0].name;
  snapshot.size = 64U << 20;
  snapshot.tags = {"respaldo_base"};
  host.lvs.push_back(snapshot);
  EXPECT_THAT(base(), AllOf(HasSubstr("tells what changes on vg0/root"), HasSubstr("64.00 MiB")));

  const std::size_t before = volumes_to_save(host).size();
  host.lvs[0].tags.push_back("respaldo_moved_to_0123");
  EXPECT_EQ(volumes_to_save(host).size(), before) << "it is active, so it is used again";
  host.lvs[0].active.clear();
  EXPECT_EQ(volumes_to_save(host).size(), before - 1);
  host.lvs[0].tags = {"respaldo_copy_of_0123"};
  EXPECT_EQ(volumes_to_save(host).size(), before - 1);
}

TEST(Doctor, reads_lvm2s_settings) {
  const LvmSettings settings = parse_lvm_settings(
      "activation/monitoring=1\n# comment\n\tactivation/snapshot_autoextend_threshold=70\nno line\n");
  EXPECT_EQ(settings.size(), 2U);
  EXPECT_EQ(settings.at("activation/snapshot_autoextend_threshold"), "70");
}

}  // namespace
}  // namespace respaldo::machine
