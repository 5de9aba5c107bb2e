// Targets made on a machine that is made up: each step fails in turn, and everything must be as it was.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>

#include "base/error.h"
#include "base/units.h"
#include "machine/host_test.h"
#include "machine/tables.h"
#include "provision/fstab_edit.h"
#include "provision/target_list.h"
#include "provision/tools.h"

namespace respaldo::provision {
namespace {

using ::testing::HasSubstr;

// lvm2, mkfs and mount, as far as a target needs them.
class FakeMachine final : public os::CommandRunner, public PartitionDoor {
 public:
  explicit FakeMachine(os::Path mountinfo) : mountinfo_(std::move(mountinfo)) { write_mounts(); }

  os::CommandResult run(const std::vector<std::string>& words, const os::CommandOptions&,
                        std::stop_token) override {
    std::vector<std::string> argv = words;
    if (argv[0] == "lvm") argv.erase(argv.begin());
    calls.push_back(argv[0]);
    const std::string& verb = argv[0];
    const std::string& last = argv.back();
    if (verb == "pvs" || verb == "vgs" || verb == "lvs") return {0, report(verb), ""};
    const bool version = argv.size() == 2 && (last == "-V" || last == "--version");
    if (version) return {};
    // Half done: the command did its work, and then says that it failed.
    const bool fails = verb == fail_at;
    if (fails && !half) return {5, "", "  it does not work\n"};
    if (verb == "pvcreate") pvs[last] = "";
    if (verb == "pvremove" && pvs.erase(last) == 0) return {5, "", "  No PV found\n"};
    if (verb == "vgcreate" || verb == "vgextend") pvs.at(last) = argv[argv.size() - 2];
    if (verb == "vgreduce") pvs.at(last) = "";
    if (verb == "vgremove") {
      // As lvm2: with a yes the volumes go along.
      if (argv[1] == "--yes") lvs.clear();
      if (!lvs.empty()) return {5, "", "  still has volumes\n"};
      for (auto& [pv, vg] : pvs)
        if (vg == last) vg = "";
    }
    if (verb == "lvcreate") {
      std::string& tags = lvs[argv[argv.size() - 2] + "/" + argv[argv.size() - 3]];
      for (std::size_t i = 0; i + 1 < argv.size(); ++i)
        if (argv[i] == "--addtag") tags += (tags.empty() ? "" : ",") + argv[i + 1];
    }
    if (verb == "lvremove") lvs.erase(last);
    if (verb == "mkfs.ext4") filesystem = true;
    if (verb == "mount") mounted.insert(last);
    if (verb == "umount" && mounted.erase(last) == 0) return {32, "", "umount: not mounted.\n"};
    write_mounts();
    return {fails ? 5 : 0, "", fails ? "  it does not work\n" : ""};
  }

  Ends save(const std::string&) override { return {Bytes::zeroed(16), Bytes::zeroed(16)}; }
  void wipe(const DiskNode& disk, const std::vector<DiskNode>& parts) override {
    calls.push_back("wipe");
    for (const DiskNode& part : parts) wiped.push_back(part.path);
    wiped.push_back(disk.path);
    if (fail_at == "wipe") throw Error(ErrorKind::busy, "somebody has it");
  }
  void restore(const std::string&, const Ends&) override { partition = false; }
  void write(const std::string&, const PartitionPlan&) override {
    calls.push_back("fdisk");
    if (fail_at == "fdisk" && !half) throw Error(ErrorKind::io, "it does not work");
    partition = true;
    if (fail_at == "fdisk") throw Error(ErrorKind::io, "it does not work");
  }
  void wait_for(const std::string&, Wanted wanted, std::stop_token) override {
    EXPECT_EQ(partition, wanted == Wanted::present);
  }

  bool clean() const { return !partition && pvs == before && lvs.empty() && mounted.empty(); }

  std::string fail_at;
  bool half = false;
  bool partition = false, filesystem = false;
  std::map<std::string, std::string> pvs, before;  // PV -> group
  std::map<std::string, std::string> lvs;  // tags
  std::set<std::string> mounted;
  std::vector<std::string> calls, wiped;

 private:
  void write_mounts() {
    std::ofstream file(mountinfo_);
    file << "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n";
    int id = 2;
    for (const std::string& point : mounted)
      file << id++ << " 1 253:1 / " << point << " rw - ext4 /dev/backup/backups rw\n";
  }
  std::string report(const std::string& verb) const {
    std::string rows;
    if (verb == "pvs")
      for (const auto& [pv, vg] : pvs)
        rows += fmt::format("{}{{\"pv_name\":\"{}\",\"pv_uuid\":\"{}\",\"vg_name\":\"{}\"}}",
                            rows.empty() ? "" : ",", pv, pv, vg);
    if (verb == "lvs")
      for (const auto& [lv, tags] : lvs)
        rows += fmt::format(
            "{}{{\"vg_name\":\"{}\",\"lv_name\":\"{}\",\"lv_uuid\":\"{}\",\"lv_tags\":\"{}\"}}",
            rows.empty() ? "" : ",", lv.substr(0, lv.find('/')), lv.substr(lv.find('/') + 1), lv, tags);
    return fmt::format("{{\"report\":[{{\"{}\":[{}]}}]}}", verb.substr(0, 2), rows);
  }
  os::Path mountinfo_;
};

class Quiet final : public ActionObserver {
 public:
  void doing(std::size_t, std::size_t, const Action& action) override { done.push_back(action.text); }
  void undoing(const Action& action) override {
    EXPECT_FALSE(action.undo_text.empty());
    undone.push_back(action.undo_text);
  }
  std::vector<std::string> done, undone;
};

constexpr const char* kOldFstab = "# my disks\nUUID=1234 / ext4 defaults 0 1";

class Acting : public ::testing::Test {
 protected:
  Acting() {
    std::ofstream(path("fstab")) << kOldFstab;
    options.disk = "/dev/sdb";
    options.mount_point = path("mnt/backups");
  }
  std::string path(const std::string& name) const { return (folder_.path() / name).native(); }
  TargetPlan plan() { return plan_target(host, options, "0000-1111", false); }
  void create() { run_actions(target_actions(plan(), doors), observer, {}); }
  std::vector<std::string> copies_of_fstab() {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
      if (entry.path().filename().native().starts_with("fstab.")) found.push_back(entry.path().native());
    return found;
  }

  os::TemporaryFolder folder_;
  machine::Picture host = machine::make_host();
  TargetOptions options;
  FakeMachine machine{folder_.path() / "mountinfo"};
  Doors doors{.commands = machine,
              .partitions = machine,
              .fstab = path("fstab"),
              .mountinfo = path("mountinfo"),
              .systemd = path("no-systemd")};
  Quiet observer;
};

TEST_F(Acting, makes_a_target) {
  check_surroundings(plan(), doors);
  create();
  EXPECT_EQ(machine.pvs.at("/dev/sdb1"), "backup");
  EXPECT_TRUE(machine.lvs.contains("backup/backups"));
  EXPECT_TRUE(machine.filesystem);
  EXPECT_TRUE(machine.mounted.contains(path("mnt/backups")));
  EXPECT_EQ(os::read_text(path("fstab")),
            std::string(kOldFstab) + "\nUUID=0000-1111 " + path("mnt/backups") +
                " ext4 defaults,nofail,x-systemd.device-timeout=10s,x-respaldo.target=backup/backups 0 2\n");
  ASSERT_EQ(copies_of_fstab().size(), 1U);
  EXPECT_EQ(os::read_text(copies_of_fstab()[0]), kOldFstab);
  EXPECT_TRUE(observer.undone.empty());
}

// Each step, failing before it did anything, and after it did all of it.
class FailingAt : public Acting, public ::testing::WithParamInterface<std::tuple<const char*, bool, bool>> {};

TEST_P(FailingAt, any_step_leaves_everything_as_it_was) {
  const auto& [step, half, extend] = GetParam();
  const std::string verb = step != std::string("group") ? step : extend ? "vgextend" : "vgcreate";
  if (extend) {
    options.group = "vg0";
    options.extend_group = true;
    machine.pvs = machine.before = {{"/dev/sda1", "vg0"}};
  }
  machine.fail_at = verb;
  machine.half = half;
  if (verb == "fstab") std::filesystem::create_directory(path("fstab.respaldo-new"));
  try {
    create();
    FAIL() << verb << " did not fail";
  } catch (const Error& error) {
    EXPECT_THAT(error.hint(), HasSubstr("everything that was done has been undone")) << error.what();
  }
  EXPECT_TRUE(machine.clean()) << verb;
  EXPECT_EQ(os::read_text(path("fstab")), kOldFstab);
  EXPECT_TRUE(copies_of_fstab().empty() || verb == "fstab");
  EXPECT_FALSE(std::filesystem::exists(path("mnt")));
}
INSTANTIATE_TEST_SUITE_P(Steps, FailingAt,
                         ::testing::Combine(::testing::Values("fdisk", "pvcreate", "group", "lvcreate",
                                                              "mkfs.ext4", "fstab", "mount"),
                                            ::testing::Bool(), ::testing::Bool()));

TEST_F(Acting, a_volume_of_another_run_is_not_undone) {
  options.group = "vg0";
  options.extend_group = true;
  machine.pvs = {{"/dev/sda1", "vg0"}};
  machine.lvs = {{"vg0/backups", kTargetTag}};
  machine.fail_at = "lvcreate";
  EXPECT_THROW(create(), Error);
  EXPECT_TRUE(machine.lvs.contains("vg0/backups"));
}

TEST_F(Acting, what_cannot_be_undone_is_told_and_the_rest_is_undone) {
  ActionList actions = target_actions(plan(), doors);
  actions[1].undo = [] { throw Error(ErrorKind::busy, "stuck"); };
  machine.fail_at = "mkfs.ext4";
  try {
    run_actions(actions, observer, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.hint(), HasSubstr("NOT undone"));
    EXPECT_THAT(error.hint(), HasSubstr("pvremove /dev/sdb1 (stuck)"));
  }
  EXPECT_FALSE(machine.partition);
}

TEST_F(Acting, a_stop_between_two_steps_undoes_them) {
  std::stop_source source;
  ActionList actions = target_actions(plan(), doors);
  const auto apply = actions[3].apply;
  actions[3].apply = [&](std::stop_token token) {
    apply(token);
    source.request_stop();
  };
  EXPECT_THROW(run_actions(actions, observer, source.get_token()), Cancelled);
  EXPECT_TRUE(machine.clean());
  EXPECT_EQ(observer.undone.size(), 4U);
  EXPECT_EQ(observer.undone.front(), "lvremove backup/backups") << "newest first";
}

TEST_F(Acting, a_disk_goes_by_the_door_that_holds_it_alone) {
  machine::Device part = machine::make_disk("sdb1", kGiB);
  part.kind = machine::DeviceKind::partition;
  part.parents = {"sdb"};
  host.devices.back().children = {"sdb1"};
  host.devices.push_back(part);
  options.destroy = "/dev/sdb";
  machine.fail_at = "wipe";
  try {
    create();
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.hint(), HasSubstr("everything that was done has been undone"));
    EXPECT_THAT(error.hint(), ::testing::Not(HasSubstr("gone")));
  }
  EXPECT_THAT(machine.calls, ::testing::ElementsAre("wipe")) << "nothing is written before, nor after";
  machine.fail_at.clear();
  machine.wiped.clear();
  create();
  EXPECT_THAT(machine.wiped, ::testing::ElementsAre("/dev/sdb1", "/dev/sdb"));
  EXPECT_THAT(machine.calls, ::testing::Not(::testing::Contains("wipefs")));
}

TEST_F(Acting, what_a_finished_step_destroyed_is_gone) {
  const Action destroys{.text = "destroy", .apply = [](std::stop_token) {}, .final = true};
  const auto fails = [](ErrorKind kind) { return [kind](std::stop_token) { throw Error(kind, "no"); }; };
  const auto hint_of = [&](const ActionList& actions) {
    try {
      run_actions(actions, observer, {});
    } catch (const Error& error) {
      return error.hint();
    }
    return std::string();
  };
  EXPECT_THAT(hint_of({destroys, {.text = "next", .apply = fails(ErrorKind::io)}}), HasSubstr("is gone"));
  EXPECT_THAT(hint_of({{.text = "destroy", .apply = fails(ErrorKind::io), .final = true}}),
              HasSubstr("may be gone"));
  EXPECT_EQ(hint_of({{.text = "destroy", .apply = fails(ErrorKind::busy), .final = true}}),
            "everything that was done has been undone");
}

TEST_F(Acting, surroundings_that_do_not_fit_are_refused_before_anything_is_done) {
  std::filesystem::create_directories(path("mnt/backups"));
  check_surroundings(plan(), doors);
  std::ofstream(path("mnt/backups/file")) << "x";
  EXPECT_THROW(check_surroundings(plan(), doors), Error);
  std::filesystem::remove(path("mnt/backups/file"));
  std::ofstream(path("fstab")) << "UUID=1 " << path("mnt/backups") << " ext4 defaults 0 0\n";
  EXPECT_THROW(check_surroundings(plan(), doors), Error);
  // Another disk, not there now, has the same names.
  std::ofstream(path("fstab")) << "UUID=1 /other ext4 defaults,x-respaldo.target=backup/backups 0 0\n";
  try {
    check_surroundings(plan(), doors);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("UUID=1 at /other"));
    EXPECT_THAT(error.hint(), HasSubstr("--vg or --lv"));
  }
  options.group = "second";
  EXPECT_NO_THROW(check_surroundings(plan(), doors));
}

TEST_F(Acting, removes_a_target_and_its_data_only_when_told) {
  create();
  Target target{.group = "backup",
                .volume = "backups",
                .mount_point = path("mnt/backups"),
                .there = true,
                .active = true,
                .mounted = true,
                .in_fstab = true,
                .fstab = plan().fstab};
  RemovalPlan keep{.target = target};
  run_actions(removal_actions(keep, doors), observer, {});
  EXPECT_TRUE(machine.mounted.empty());
  EXPECT_EQ(os::read_text(path("fstab")), std::string(kOldFstab) + "\n");
  EXPECT_TRUE(machine.lvs.contains("backup/backups"));
  target.mounted = false;
  target.fstab.reset();
  run_actions(
      removal_actions(
          {.target = target, .wipe = "backup/backups", .free_pvs = {"/dev/sdb1"}, .whole_group = true},
          doors),
      observer, {});
  EXPECT_TRUE(machine.lvs.empty());
  EXPECT_TRUE(machine.pvs.empty());
}

TEST_F(Acting, volumes_that_others_made_in_the_group_stay) {
  create();
  machine.lvs["backup/other"];
  const RemovalPlan plan{.target = {.group = "backup", .volume = "backups", .there = true, .active = true},
                         .wipe = "backup/backups",
                         .free_pvs = {"/dev/sdb1"},
                         .whole_group = true};
  EXPECT_THROW(run_actions(removal_actions(plan, doors), observer, {}), Error);
  EXPECT_THAT(machine.lvs, ::testing::ElementsAre(::testing::Key("backup/other")));
  EXPECT_EQ(machine.pvs.at("/dev/sdb1"), "backup");
}

TEST_F(Acting, a_creation_that_fails_leaves_volumes_that_others_made_in_the_group) {
  ActionList actions = target_actions(plan(), doors);
  actions.back().apply = [&](std::stop_token) {
    machine.lvs["backup/other"];
    throw Error(ErrorKind::io, "no");
  };
  EXPECT_THROW(run_actions(actions, observer, {}), Error);
  EXPECT_THAT(machine.lvs, ::testing::ElementsAre(::testing::Key("backup/other")));
}

TEST_F(Acting, a_removal_that_fails_puts_back_what_it_took) {
  create();
  const std::string with_line = os::read_text(path("fstab"));
  const Target target{.group = "backup",
                      .volume = "backups",
                      .mount_point = path("mnt/backups"),
                      .there = true,
                      .active = true,
                      .mounted = true,
                      .in_fstab = true,
                      .fstab = plan().fstab};
  machine.fail_at = "lvremove";
  try {
    run_actions(removal_actions(
                    {.target = target, .wipe = "backup/backups", .free_pvs = {}, .whole_group = true}, doors),
                observer, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.hint(), ::testing::Not(HasSubstr("is gone"))) << "the backups are there";
  }
  EXPECT_EQ(os::read_text(path("fstab")), with_line);
  EXPECT_TRUE(machine.mounted.contains(path("mnt/backups")));
}

class Fstab : public Acting {
 protected:
  machine::FstabEntry entry{"UUID=9", "/with blank", "ext4", "defaults,nofail", 0, 2};
};

TEST_F(Fstab, fields_with_blanks_come_back_as_they_were) {
  EXPECT_EQ(fstab_line(entry), "UUID=9 /with\\040blank ext4 defaults,nofail 0 2\n");
  add_to_fstab(path("fstab"), entry);
  EXPECT_EQ(machine::read_fstab(path("fstab")).entries.back().target, "/with blank");
  remove_from_fstab(path("fstab"), entry);
  EXPECT_EQ(os::read_text(path("fstab")), std::string(kOldFstab) + "\n");
}

TEST_F(Fstab, what_has_a_line_gets_no_second_one) {
  add_to_fstab(path("fstab"), entry);
  EXPECT_THROW(add_to_fstab(path("fstab"), entry), Error);
  entry.source = "UUID=10";
  EXPECT_THROW(add_to_fstab(path("fstab"), entry), Error);
  EXPECT_THROW(remove_from_fstab(path("fstab"), entry), Error);
}

TEST_F(Fstab, comments_bad_lines_mode_and_links_stay) {
  std::ofstream(path("fstab")) << "# a\n\nnonsense\n\tUUID=1 / ext4 defaults 0 1\n";
  ::chmod(path("fstab").c_str(), 0640);
  std::filesystem::rename(path("fstab"), path("real"));
  std::filesystem::create_symlink("real", path("fstab"));
  const std::string before = os::read_text(path("fstab"));
  const FstabChange change = add_to_fstab(path("fstab"), entry);
  EXPECT_EQ(os::read_text(path("real")), before + fstab_line(entry));
  EXPECT_TRUE(std::filesystem::is_symlink(path("fstab")));
  EXPECT_EQ(std::filesystem::status(path("fstab")).permissions(), static_cast<std::filesystem::perms>(0640));
  ASSERT_TRUE(change.backup);
  EXPECT_EQ(std::filesystem::status(*change.backup).permissions(), static_cast<std::filesystem::perms>(0640));
  undo_fstab(path("fstab"), change, entry);
  EXPECT_EQ(os::read_text(path("fstab")), before);
}

TEST_F(Fstab, undoing_respects_what_others_wrote_meanwhile) {
  const FstabChange change = add_to_fstab(path("fstab"), entry);
  std::ofstream(path("fstab"), std::ios::app) << "UUID=77 /other ext4 defaults 0 0\n";
  undo_fstab(path("fstab"), change, entry);
  EXPECT_EQ(os::read_text(path("fstab")), std::string(kOldFstab) + "\nUUID=77 /other ext4 defaults 0 0\n");
}

TEST_F(Fstab, a_host_without_one_gets_one_and_loses_it_again) {
  std::filesystem::remove(path("fstab"));
  const FstabChange change = add_to_fstab(path("fstab"), entry);
  EXPECT_EQ(os::read_text(path("fstab")), fstab_line(entry));
  undo_fstab(path("fstab"), change, entry);
  EXPECT_FALSE(std::filesystem::exists(path("fstab")));
}

}  // namespace
}  // namespace respaldo::provision
