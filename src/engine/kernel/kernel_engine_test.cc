// The kernel engine on a recorded machine.
#include "engine/kernel/kernel_engine.h"

#include <gmock/gmock.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cctype>

#include "base/error.h"
#include "engine/base.h"
#include "engine/kernel/bases.h"
#include "engine/kernel/in_use.h"
#include "engine/kernel/tools/fake_dm_control_test.h"
#include "engine/volume_changes.h"
#include "journal/journal.h"
#include "journal/names.h"
#include "lvm/volume_group.h"
#include "testing/errors.h"
#include "testing/replay_runner.h"

namespace respaldo::engine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using testing::error_of;

struct Lv {
  std::string name, role = "public", tags{}, origin{}, attr = "-wi-a-----", segtype = "linear", active = "active",
                    vg = "vg0", vg_uuid = "VGVGVG-0000-0000-0000-0000-0000-000000", devices{};
};
std::string uuid_of(const std::string& name) {
  std::string plain = "LV";
  for (char c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) plain += c;
  plain.resize(32, '0');
  return lvm::Uuid::parse(plain).value().dashed();
}

class KernelEngineTest : public ::testing::Test {
 protected:
  os::TemporaryFolder folder_;
  std::shared_ptr<respaldo::testing::ReplayRunner> machine_ =
      std::make_shared<respaldo::testing::ReplayRunner>();
  std::shared_ptr<FakeDmControl> dm_ = std::make_shared<FakeDmControl>();

  std::unique_ptr<VolumeEngine> engine() {
    KernelEngineOptions options;
    options.commands = machine_;
    options.device_mapper = dm_;
    options.state = folder_.path() / "state";
    options.dev = folder_.path();
    return make_kernel_engine(std::move(options));
  }
  void volumes(const std::vector<Lv>& all) {
    std::string rows;
    for (const Lv& lv : all)
      rows += std::string(rows.empty() ? "" : ",") + R"({"vg_name":")" + lv.vg + R"(","vg_uuid":")" +
              lv.vg_uuid + R"(","lv_name":")" + lv.name + R"(","lv_uuid":")" + uuid_of(lv.name) +
              R"(","lv_attr":")" + lv.attr + R"(","segtype":")" + lv.segtype + R"(","lv_role":")" + lv.role +
              R"(","lv_size":"16777216","devices":")" + lv.devices + R"(","origin":")" + lv.origin +
              R"(","origin_size":"16777216","lv_tags":")" + lv.tags + R"(","lv_active":")" + lv.active +
              R"("})";
    machine_->on({"lvm", "lvs"}, {0, R"({"report":[{"lv":[)" + rows + "]}]}", ""});
  }
  void group(std::uint64_t free) {
    machine_->on({"lvm", "vgs"},
                 {0,
                  R"({"report":[{"vg":[{"vg_name":"vg0","vg_uuid":"x","vg_size":"1073741824","vg_free":")" +
                      std::to_string(free) + R"(","vg_extent_size":"4194304"}]}]})",
                  ""});
  }
  // As after this lvcreate of root's snapshot `before`.
  void show_before(const std::vector<std::string>& argv) {
    std::string tags;
    for (std::size_t i = 0; i + 1 < argv.size(); ++i)
      if (argv[i] == "--addtag") tags += (tags.empty() ? "" : ",") + argv[i + 1];
    volumes({{.name = "root"}, {.name = "before", .role = "public,snapshot", .tags = tags, .origin = "root"}});
  }
  std::string owner_tag(bool alive) const {
    journal::Owner owner = journal::Owner::self();
    if (!alive) ++owner.start;
    return "respaldo," + owner.tag();
  }
};

TEST_F(KernelEngineTest, only_what_users_work_with_is_listed) {
  volumes({{.name = "root"},
           {.name = "pool", .role = "private", .segtype = "thin-pool"},
           {.name = "off", .active = ""}});
  const auto all = engine()->list();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].name.str(), "vg0/root");
  EXPECT_EQ(all[0].unreadable, "");
  EXPECT_THAT(all[1].unreadable, HasSubstr("not active"));
}

TEST_F(KernelEngineTest, a_name_that_is_not_there_is_answered_with_those_that_are) {
  volumes({{.name = "root"}, {.name = "ho-me.1"}});
  const Error error = error_of([&] { engine()->find({"vg0", "rot"}); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_THAT(error.hint(), HasSubstr("vg0/root, vg0/ho-me.1"));
}

TEST_F(KernelEngineTest, a_name_of_two_groups_is_refused) {
  volumes({{.name = "root"}, {.name = "root", .vg_uuid = "WGWGWG-0000-0000-0000-0000-0000-000000"}});
  const Error error = error_of([&] { engine()->find({"vg0", "root"}); });
  EXPECT_EQ(error.kind(), ErrorKind::refused);
  EXPECT_THAT(error.hint(), HasSubstr("vgrename WGWGWG"));
}

TEST_F(KernelEngineTest, what_cannot_be_read_says_what_to_do) {
  volumes({{.name = "pool", .role = "private", .segtype = "thin-pool"},
           {.name = "off", .active = ""},
           {.name = "part", .role = "private"}});
  const auto e = engine();
  EXPECT_EQ(error_of([&] { e->open_read({"vg0", "pool"}); }).kind(), ErrorKind::unsupported);
  EXPECT_EQ(error_of([&] { e->open_read({"vg0", "part"}); }).kind(), ErrorKind::unsupported);
  EXPECT_THAT(error_of([&] { e->acquire({"vg0", "off"}, {}); }).hint(), HasSubstr("lvchange -ay vg0/off"));
}

TEST_F(KernelEngineTest, a_snapshot_is_made_with_tags_and_nothing_stays_when_that_fails) {
  volumes({{.name = "root"}});
  group(512U << 20);
  std::vector<std::string> asked;
  machine_->on({"lvm", "lvcreate"}, [&](const auto& argv) {
    asked = argv;
    // The intent is on the disk before.
    EXPECT_FALSE(std::filesystem::is_empty(folder_.path() / "state/journal"));
    return os::CommandResult{5, "", "  Volume group \"vg0\" has insufficient free space\n"};
  });
  AcquireOptions options;
  options.run_tag = "respaldo_run_0123456789abcdef";
  const auto e = engine();
  EXPECT_THROW(e->acquire({"vg0", "root"}, options), Error);
  EXPECT_THAT(asked, Contains("respaldo_run_0123456789abcdef"));
  EXPECT_THAT(asked, Contains(journal::Owner::self().tag()));
  EXPECT_EQ(asked.back(), "vg0/root");
  const auto size = std::ranges::find(asked, "-L");
  ASSERT_NE(size, asked.end());
  EXPECT_EQ(*(size + 1), "20971520b") << "the largest that a volume of 16 MiB can use";
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 0U);
}

// Group vg0 on sda2 and sdb; the volume is a mirror whose legs lie in hidden volumes.
class StoreOfABase : public KernelEngineTest {
 protected:
  StoreOfABase() {
    volumes({{.name = "root", .segtype = "raid1", .devices = "root_rimage_0(0),root_rimage_1(0)"},
             {.name = "[root_rimage_0]", .role = "private", .devices = "/dev/sda2(0)"},
             {.name = "[root_rimage_1]", .role = "private", .devices = "/dev/sda2(50)"},
             {.name = "other", .devices = "/dev/sdb(7)"}});
    group(512U << 20);
    machine_->on({"lvm", "lvcreate"}, [this](const auto& argv) {
      const auto at = std::ranges::find(argv, "vg0/root");
      where_.push_back({at + 1, argv.end()});
      if (!where_.back().empty() && !room_at_home_)
        return os::CommandResult{5, "", room_words_};
      return os::CommandResult{};  // without a device: the lease fails
    });
  }
  void hold_for_a_base() {
    EXPECT_THAT(error_of([&] { base_engine(*engine())->acquire_for_base({"vg0", "root"}, {}); }).what(),
                HasSubstr("has no device"));
  }
  bool room_at_home_ = true;
  std::string room_words_;
  std::vector<std::vector<std::string>> where_;
};

TEST_F(StoreOfABase, lies_on_the_disks_of_its_volume) {
  hold_for_a_base();
  EXPECT_THAT(where_, ElementsAre(ElementsAre("/dev/sda2")));
}

TEST_F(StoreOfABase, lies_anywhere_when_there_is_no_room) {
  room_at_home_ = false;
  for (const char* words : {"  Insufficient free space: 5 extents needed, but only 1 available\n",
                            "  No specified PVs have space available.\n"}) {
    room_words_ = words;
    where_.clear();
    hold_for_a_base();
    EXPECT_THAT(where_, ElementsAre(ElementsAre("/dev/sda2"), ElementsAre()));
  }
}

TEST_F(StoreOfABase, lies_anywhere_when_it_is_for_the_run_alone) {
  EXPECT_THROW(engine()->acquire({"vg0", "root"}, {}), Error);
  EXPECT_THAT(where_, ElementsAre(ElementsAre()));
}

TEST(AwayFromOrigin, are_the_disks_that_only_the_store_needs) {
  const auto row = [](std::string name, std::vector<std::string> devices, std::string origin = "") {
    LvRow made;
    made.vg_uuid = "vg";
    made.name = made.uuid = std::move(name);
    made.devices = std::move(devices);
    made.origin_uuid = std::move(origin);
    made.attr = made.origin_uuid.empty() ? "owi-aos---" : "swi-a-s---";
    return made;
  };
  LvRow thin = row("thin", {});
  thin.segment_type = "thin";
  thin.pool = "pool";
  const std::vector<LvRow> rows = {row("root", {"/dev/sda2(0)", "part(0)"}),
                                   row("part", {"/dev/sdc(4)"}),
                                   row("home", {"/dev/sda2(100)", "/dev/sdc(90)"}, "root"),
                                   row("away", {"/dev/sda2(200)", "/dev/sdb(0)", "/dev/sdb(9)"}, "root"),
                                   row("lost", {"/dev/sdb(0)"}, "gone"),
                                   row("pool", {"pool_tdata(0)"}),
                                   row("pool_tdata", {"/dev/sdd(0)"}),
                                   thin,
                                   row("of_thin", {"/dev/sdd(7)"}, "thin")};
  EXPECT_THAT(physical_volumes_below(rows, rows[0]), ElementsAre("/dev/sda2", "/dev/sdc"));
  EXPECT_THAT(away_from_origin(rows, rows[2]), ElementsAre());
  EXPECT_THAT(away_from_origin(rows, rows[3]), ElementsAre("/dev/sdb"));
  EXPECT_THAT(away_from_origin(rows, rows[4]), ElementsAre());
  EXPECT_THAT(away_from_origin(rows, rows[8]), ElementsAre());
}

TEST_F(KernelEngineTest, a_snapshot_that_cannot_be_taken_away_is_told) {
  volumes({{.name = "root"}});
  group(512U << 20);
  machine_->on({"lvm", "lvcreate"}, [&](const auto& argv) {
    FakeDmControl::Device device;  // without a node
    device.info.name = "vg0-" + *(std::ranges::find(argv, "-n") + 1);
    device.info.uuid = dm_uuid("VGVGVG-0000-0000-0000-0000-0000-000000", uuid_of("new"));
    dm_->devices[device.info.name] = device;
    return os::CommandResult{};
  });
  machine_->on({"lvm", "lvremove"}, [](const auto&) -> os::CommandResult { throw std::runtime_error("stuck"); });
  const auto e = engine();
  EXPECT_ANY_THROW(e->acquire({"vg0", "root"}, {}));
  EXPECT_THAT(e->warnings(), Contains(HasSubstr("is still there: stuck")));
}

TEST_F(KernelEngineTest, without_free_extents_nothing_is_tried) {
  volumes({{.name = "root"}});
  group(0);
  const Error error = error_of([&] { engine()->acquire({"vg0", "root"}, {}); });
  EXPECT_EQ(error.kind(), ErrorKind::no_space);
  EXPECT_THAT(error.hint(), HasSubstr("vgextend"));
  EXPECT_EQ(machine_->count({"lvm", "lvcreate"}), 0U);
}

TEST_F(KernelEngineTest, clean_removes_what_dead_runs_left_and_nothing_else) {
  volumes(
      {{.name = "root"},
       {.name = "respaldo_dead", .role = "public,snapshot", .tags = owner_tag(false), .origin = "root"},
       {.name = "respaldo_alive", .role = "public,snapshot", .tags = owner_tag(true), .origin = "root"},
       {.name = "respaldo_base",
        .role = "public,snapshot",
        .tags = owner_tag(false) + ",respaldo_base",
        .origin = "root"},
       {.name = "respaldo_byhand", .role = "public,snapshot", .tags = "respaldo_manual", .origin = "root"},
       {.name = "respaldo_notag", .role = "public,snapshot", .tags = "respaldo", .origin = "root"},
       {.name = "elsewhere", .tags = "respaldo,respaldo_owner_00000000_00000000_1_1"}});
  const auto e = engine();
  auto report = e->clean({.dry_run = true});
  ASSERT_EQ(report.items.size(), 1U);
  EXPECT_THAT(report.items[0].what, HasSubstr("respaldo_dead of vg0/root"));
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 0U);
  machine_->on({"lvm", "lvremove"}, {0, "", ""});
  report = e->clean({});
  ASSERT_EQ(report.items.size(), 1U);
  EXPECT_EQ(report.items[0].problem, "");
  journal::Owner dead = journal::Owner::self();
  ++dead.start;
  EXPECT_EQ(machine_->count({"lvm", "lvremove", "-S",
                             "lv_uuid=" + uuid_of("respaldo_dead") + " && lv_tags={" + dead.tag() + "}", "vg0"}),
            1U);
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 1U);
}

TEST_F(KernelEngineTest, what_users_named_goes_only_when_they_ask_for_it) {
  const std::string minted = "respaldo_0123456789abcdef", dead = owner_tag(false);
  volumes({{.name = "copy", .tags = dead},
           {.name = minted, .role = "public,snapshot", .tags = dead, .origin = "copy"}});
  machine_->on({"lvm", "lvremove"}, {0, "", ""});
  const auto e = engine();
  const CleanReport report = e->clean({.named = false});
  ASSERT_EQ(report.items.size(), 1U);
  EXPECT_THAT(report.items[0].what, HasSubstr(minted));
  EXPECT_THAT(report.left, ElementsAre("volume vg0/copy"));
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 1U);
  EXPECT_EQ(e->clean({}).items.size(), 2U);
}

TEST_F(KernelEngineTest, whose_a_volume_is_is_asked_before_it_is_overwritten) {
  volumes({{.name = "users", .tags = "respaldo"},
           {.name = "dead", .tags = owner_tag(false)},
           {.name = "alive", .tags = owner_tag(true)},
           {.name = "elsewhere", .tags = "respaldo,respaldo_owner_00000000_00000000_1_1"},
           {.name = "copy", .tags = "respaldo_copy_of_" + uuid_of("users")}});
  const auto e = engine();
  VolumeChanges& changes = volume_changes(*e);
  EXPECT_FALSE(changes.is_abandoned({"vg0", "users"}));
  EXPECT_TRUE(changes.is_abandoned({"vg0", "dead"}));
  EXPECT_EQ(error_of([&] { changes.is_abandoned({"vg0", "alive"}); }).kind(), ErrorKind::busy);
  EXPECT_TRUE(changes.is_abandoned({"vg0", "elsewhere"}));
  EXPECT_THAT(error_of([&] { changes.is_abandoned({"vg0", "copy"}); }).hint(), HasSubstr("--abort"));
  machine_->on({"lvm", "lvchange"}, {0, "", ""});
  changes.adopt({"vg0", "dead"}, uuid_of("dead"));
  journal::Owner dead = journal::Owner::self();
  ++dead.start;
  EXPECT_EQ(machine_->count({"lvm", "lvchange", "--deltag", "respaldo", "--deltag", dead.tag(), "vg0/dead"}), 1U);
}

TEST_F(KernelEngineTest, a_snapshot_by_hand_never_costs_the_one_that_has_its_name) {
  const std::vector<Lv> two = {
      {.name = "root"}, {.name = "before", .role = "public,snapshot", .tags = "respaldo_manual", .origin = "root"}};
  volumes(two);
  group(512U << 20);
  machine_->on({"lvm", "lvremove"}, {0, "", ""});
  machine_->on({"lvm", "lvcreate"}, [&](const auto&) {
    volumes(two);
    return os::CommandResult{5, "", "  Logical Volume \"before\" already exists in volume group \"vg0\"\n"};
  });
  EXPECT_EQ(error_of([&] { engine()->create_snapshot({"vg0", "root"}, "before", {}); }).kind(), ErrorKind::refused);
  EXPECT_EQ(machine_->count({"lvm", "lvcreate"}), 0U);
  volumes({{.name = "root"}});  // somebody is quicker
  EXPECT_EQ(error_of([&] { engine()->create_snapshot({"vg0", "root"}, "before", {}); }).kind(), ErrorKind::refused);
  EXPECT_EQ(machine_->count({"lvm", "lvcreate"}), 1U);
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 0U);
}

TEST_F(KernelEngineTest, of_a_snapshot_by_hand_that_fails_nothing_stays) {
  volumes({{.name = "root"}});
  group(512U << 20);
  machine_->on({"lvm", "lvcreate"}, [&](const auto& argv) {
    show_before(argv);
    return os::CommandResult{5, "", "  Failed to activate\n"};
  });
  machine_->on({"lvm", "lvremove"}, {0, "", ""});
  EXPECT_THROW(engine()->create_snapshot({"vg0", "root"}, "before", {}), Error);
  EXPECT_EQ(machine_->count({"lvm", "lvremove", "-S", "lv_uuid=" + uuid_of("before"), "vg0"}), 1U);
}

TEST_F(KernelEngineTest, a_snapshot_by_hand_that_cannot_be_opened_goes) {
  volumes({{.name = "root"}});
  group(512U << 20);
  machine_->on({"lvm", "lvcreate"}, [&](const auto& argv) {
    show_before(argv);
    FakeDmControl::Device device;
    device.info.name = "vg0-before";
    device.info.uuid = dm_uuid("VGVGVG-0000-0000-0000-0000-0000-000000", uuid_of("before"));
    dm_->devices[device.info.name] = device;
    std::filesystem::create_directory(folder_.path() / "mapper");
    std::filesystem::create_symlink(device.info.name, folder_.path() / "mapper" / device.info.name);  // leads to itself
    return os::CommandResult{};
  });
  machine_->on({"lvm", "lvremove"}, [&](const auto&) {
    dm_->devices.clear();
    return os::CommandResult{};
  });
  EXPECT_THAT(error_of([&] { engine()->create_snapshot({"vg0", "root"}, "before", {}); }).what(),
              HasSubstr("vg0-before"));
  EXPECT_EQ(machine_->count({"lvm", "lvremove", "-S", "lv_uuid=" + uuid_of("before"), "vg0"}), 1U);
}

TEST_F(KernelEngineTest, what_is_looked_for_or_removed_is_not_what_was_there_a_moment_ago) {
  volumes({{.name = "root"}, {.name = "before", .role = "public,snapshot", .tags = "respaldo_manual", .origin = "root"}});
  machine_->on({"lvm", "lvremove"}, {0, "", ""});
  const auto e = engine();
  EXPECT_EQ(e->list().size(), 2U);
  volumes({{.name = "other"}});
  EXPECT_EQ(error_of([&] { e->remove_snapshot({"vg0", "before"}, uuid_of("before")); }).kind(), ErrorKind::not_found);
  EXPECT_EQ(machine_->count({"lvm", "lvremove"}), 0U);
  volumes({{.name = "root"}});
  EXPECT_EQ(e->find({"vg0", "root"}).name.lv, "root");
  volumes({{.name = "other"}});
  EXPECT_EQ(error_of([&] { e->find({"vg0", "root"}); }).kind(), ErrorKind::not_found);
  EXPECT_EQ(e->list().size(), 1U);
}

TEST_F(KernelEngineTest, only_snapshots_are_removed_by_hand) {
  volumes({{.name = "root"},
           {.name = "alive", .role = "public,snapshot", .tags = owner_tag(true), .origin = "root"}});
  const auto e = engine();
  EXPECT_EQ(error_of([&] { e->remove_snapshot({"vg0", "root"}, uuid_of("root")); }).kind(), ErrorKind::refused);
  EXPECT_EQ(error_of([&] { e->remove_snapshot({"vg0", "alive"}, uuid_of("alive")); }).kind(), ErrorKind::busy);
}

TEST_F(KernelEngineTest, a_snapshot_that_was_made_anew_is_not_the_one_that_was_spoken_of) {
  volumes({{.name = "root"}, {.name = "before", .role = "public,snapshot", .origin = "root"}});
  const auto e = engine();
  VolumeChanges& changes = volume_changes(*e);
  MergePlan plan = changes.plan_merge({"vg0", "before"});
  plan.uuid = uuid_of("other");
  SilentProgress silent;
  EXPECT_EQ(error_of([&] { changes.merge(plan, silent, {}); }).kind(), ErrorKind::refused);
  EXPECT_EQ(error_of([&] { e->remove_snapshot({"vg0", "before"}, uuid_of("other")); }).kind(), ErrorKind::refused);
  EXPECT_EQ(machine_->count({"lvm", "lvconvert"}) + machine_->count({"lvm", "lvremove"}), 0U);
}

TEST(MountPoints, are_told_by_device_number) {
  const char* const info =
      "22 1 254:3 / / rw,relatime - ext4 /dev/mapper/vg0-root rw\n"
      "40 22 254:3 /sub /srv/with\\040blank rw - ext4 /dev/mapper/vg0-root rw\n"
      "41 22 254:33 / /other rw - ext4 x rw\nshort\n";
  EXPECT_THAT(mount_points(info, makedev(254, 3)), ElementsAre("/", "/srv/with blank"));
  EXPECT_TRUE(mount_points(info, makedev(25, 43)).empty());
}

TEST(MountPoints, that_may_write_are_those_of_writable_filesystems) {
  const char* const info =
      "22 1 254:3 / /ro ro - ext4 /dev/mapper/vg0-root rw,errors=remount-ro\n"
      "23 1 254:4 / /snap rw - ext4 /dev/mapper/vg0-snap ro,norecovery\n"
      "24 1 254:4 / /again rw - ext4 /dev/mapper/vg0-snap ro\n";
  EXPECT_THAT(mount_points(info, makedev(254, 3), MountedFor::writing), ElementsAre("/ro"));
  EXPECT_TRUE(mount_points(info, makedev(254, 4), MountedFor::writing).empty());
  EXPECT_THAT(mount_points(info, makedev(254, 4)), ElementsAre("/snap", "/again"));
}

}  // namespace
}  // namespace respaldo::engine
