// restore --to VG/LV: volumes that are made, overwritten, refused.
#include "cli/program_test.h"
#include "engine/volume_changes.h"
#include "journal/names.h"

namespace respaldo::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RestoreVolume : public ProgramWithDisk {
 protected:
  RestoreVolume() { must({"-q", "backup", "vg0/root"}); }
  Bytes read_volume(const std::string& name) {
    const std::string file = path("read-back");
    must({"-q", "dump", name, "-o", file, "--yes"});
    return contents(file);
  }
  std::string volumes() { return must({"lvm", "lvs", "--noheadings", "-o", "lv_name,lv_tags"}); }
};

TEST_F(RestoreVolume, a_volume_that_is_not_there_is_made_on_the_named_pv) {
  disks.push_back(make_image("second.img", 64U << 20));
  // Foreign bytes where the volume will lie, which must not show through.
  std::filesystem::resize_file(disks[1], 0);
  {
    const Bytes noise = testing::random_bytes(64U << 20, 77);
    std::ofstream(disks[1], std::ios::binary)
        .write(reinterpret_cast<const char*>(noise.data()), static_cast<std::streamsize>(noise.size()));
  }
  must({"-q", "lvm", "vgextend", "vg0", disks[1]});
  EXPECT_EQ(respaldo({"restore", "latest", "--to", "vg0/back"}).code, 1) << "not without --create";
  const auto result = must_json({"restore", "latest", "--to", "vg0/back", "--create", "--pv", disks[1], "--verify"});
  EXPECT_EQ(result["created"], true);
  EXPECT_EQ(result["verified"], true);
  EXPECT_TRUE(same(read_volume("vg0/back"), image_));
  EXPECT_THAT(must({"lvm", "lvs", "--noheadings", "-o", "devices", "vg0/back"}), HasSubstr("second.img"));
  EXPECT_THAT(volumes(), Not(HasSubstr("respaldo"))) << "nobody's leftover any more";
  // It is there now: it is overwritten, which is asked.
  EXPECT_EQ(respaldo({"restore", "latest", "--to", "vg0/back", "--create"}).code, 1);
  must({"-q", "restore", "latest", "--to", "vg0/back", "--create", "--in-place", "--yes"});
}

TEST_F(RestoreVolume, without_room_or_with_wrong_words_nothing_is_made) {
  const std::string before = volumes();
  must({"-q", "lvm", "lvcreate", "-l", "100%FREE", "-n", "full", "vg0"});
  const Outcome outcome = respaldo({"restore", "latest", "--to", "vg0/back", "--create"});
  EXPECT_EQ(outcome.code, 1);
  must({"-q", "lvm", "lvremove", "-y", "vg0/full"});
  EXPECT_EQ(respaldo({"restore", "latest", "--to", "vg0/back", "--create", "--pv", "nothing.img"}).code, 1);
  EXPECT_EQ(respaldo({"restore", "latest", "--to", "vg1/back", "--create"}).code, 1);
  EXPECT_EQ(respaldo({"restore", "latest", "--to", "vg0/b@d", "--create"}).code, 2);
  EXPECT_EQ(respaldo({"restore", "latest", "--to", "vg0/root", "--pv", disks[0]}).code, 2);
  EXPECT_EQ(respaldo({"restore", "latest", "--to-file", path("x"), "--create"}).code, 2);
  EXPECT_EQ(volumes(), before);
}

TEST_F(RestoreVolume, a_restore_that_fails_takes_its_new_volume_away) {
  for (const auto& file : std::filesystem::recursive_directory_iterator(repository() + "/data"))
    if (file.is_regular_file() && file.file_size() > 500000) {
      std::filesystem::permissions(file.path(), std::filesystem::perms::owner_all);
      std::filesystem::resize_file(file.path(), file.file_size() / 2);
    }
  const std::string before = volumes();
  EXPECT_NE(respaldo({"restore", "latest", "--to", "vg0/back", "--create"}).code, 0);
  EXPECT_EQ(volumes(), before);
}

TEST_F(RestoreVolume, nothing_is_overwritten_when_a_pack_is_missing_or_short) {
  const auto data = [this] {
    std::vector<std::filesystem::path> found;
    for (const auto& file : std::filesystem::recursive_directory_iterator(repository() + "/data"))
      if (file.is_regular_file() && file.file_size() > 500000) found.push_back(file.path());
    return found;
  }();
  ASSERT_FALSE(data.empty());
  must({"-q", "lvm", "lvcreate", "-L", std::to_string(image_.size()) + "b", "-n", "other", "vg0"});
  const Bytes before = read_volume("vg0/other");
  std::filesystem::permissions(data[0], std::filesystem::perms::owner_all);
  std::filesystem::resize_file(data[0], std::filesystem::file_size(data[0]) / 2);
  for (const char* what : {"too short", "missing"}) {
    for (const bool in_place : {false, true}) {
      std::vector<std::string> words{"restore", "latest", "--to", "vg0/other", "--yes"};
      if (in_place) words.emplace_back("--in-place");
      const Outcome outcome = respaldo(words);
      EXPECT_EQ(outcome.code, 1) << outcome.err;
      EXPECT_THAT(outcome.err, HasSubstr(std::string("is ") + what));
      EXPECT_THAT(outcome.err, HasSubstr("nothing was written"));
      EXPECT_TRUE(same(read_volume("vg0/other"), before));
    }
    std::filesystem::remove(data[0]);
  }
  // What is not needed may be missing: here all is there already.
  must({"-q", "restore", "latest", "--to", "vg0/root", "--in-place", "--yes"});
}

TEST_F(RestoreVolume, a_target_that_is_written_over_in_part_is_told) {
  // What came later is in a pack of its own.
  const Bytes later = testing::random_bytes(1U << 20, 99);
  std::copy(later.data(), later.data() + later.size(), image_.data() + (4U << 20));
  fill_root();
  must({"-q", "backup", "vg0/root"});
  must({"-q", "lvm", "lvcreate", "-L", std::to_string(image_.size()) + "b", "-n", "other", "vg0"});
  std::size_t packs = 0, told = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(repository() + "/data")) {
    if (!file.is_regular_file() || file.file_size() < 500000) continue;
    ++packs;
    const std::string whole = path("whole");
    std::filesystem::copy_file(file.path(), whole, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::permissions(file.path(), std::filesystem::perms::owner_all);
    {
      std::fstream pack(file.path(), std::ios::in | std::ios::out | std::ios::binary);
      pack.seekp(static_cast<std::streamoff>(file.file_size() / 2));
      pack.write("damage", 6);
    }
    const Outcome outcome = respaldo({"restore", "latest", "--to", "vg0/other", "--yes", "--threads", "1"});
    EXPECT_NE(outcome.code, 0);
    if (outcome.err.find("vg0/other is written over in part") != std::string::npos) {
      ++told;
      EXPECT_THAT(outcome.err, HasSubstr("--in-place"));
    }
    std::filesystem::copy_file(whole, file.path(), std::filesystem::copy_options::overwrite_existing);
  }
  ASSERT_GE(packs, 2U);
  EXPECT_GE(told, packs - 1) << "only what is damaged in the first pack stops before anything is written";
  must({"-q", "restore", "latest", "--to", "vg0/other", "--yes", "--in-place"});
}

TEST_F(RestoreVolume, what_a_dead_restore_made_is_cleaned_or_made_anew) {
  journal::Owner dead = journal::Owner::self();
  ++dead.start;
  const auto half_made = [&] {
    must({"-q", "lvm", "lvcreate", "-L", "4m", "-n", "back", "--addtag", "respaldo", "--addtag", dead.tag(), "vg0"});
  };
  half_made();
  EXPECT_THAT(must({"clean"}), HasSubstr("removed volume vg0/back"));
  EXPECT_THAT(must({"clean"}), HasSubstr("nothing was left behind"));
  half_made();
  must({"-q", "restore", "latest", "--to", "vg0/back", "--create"});
  EXPECT_TRUE(same(read_volume("vg0/back"), image_));
  EXPECT_THAT(must({"clean"}), HasSubstr("nothing was left behind"));
}

TEST_F(RestoreVolume, what_is_restored_onto_a_leftover_is_one_no_more) {
  journal::Owner dead = journal::Owner::self();
  ++dead.start;
  must({"-q", "lvm", "lvcreate", "-L", "12m", "-n", "back", "--addtag", "respaldo", "--addtag", dead.tag(), "vg0"});
  EXPECT_THAT(respaldo({"backup", "vg0/root"}).err, HasSubstr("`respaldo clean` removes it"));
  EXPECT_THAT(volumes(), HasSubstr(dead.tag())) << "no backup removes what has a name of users";
  EXPECT_EQ(respaldo({"restore", "latest", "--to", "vg0/back"}).code, 1) << "asked first";
  EXPECT_THAT(volumes(), HasSubstr(dead.tag()));
  must({"-q", "restore", "latest", "--to", "vg0/back", "--yes"});
  EXPECT_THAT(must({"clean"}), HasSubstr("nothing was left behind"));
  EXPECT_TRUE(same(read_volume("vg0/back"), image_));
}

TEST_F(RestoreVolume, what_a_living_process_made_for_itself_is_not_written_over) {
  must({"-q", "lvm", "lvcreate", "-L", "16m", "-n", "back", "--addtag", journal::Owner::self().tag(), "vg0"});
  const Outcome outcome = respaldo({"restore", "latest", "--to", "vg0/back", "--yes"});
  EXPECT_EQ(outcome.code, 11);
  EXPECT_THAT(outcome.err, HasSubstr("made vg0/back for itself"));
  must({"-q", "lvm", "lvcreate", "-L", "16m", "-n", "moves", "--addtag", "respaldo_copy_of_X", "vg0"});
  EXPECT_EQ(respaldo({"restore", "latest", "--to", "vg0/moves", "--yes"}).code, 1);
}

TEST_F(RestoreVolume, a_snapshot_that_would_overflow_is_a_reason_to_refuse) {
  must({"-q", "snapshot", "create", "vg0/root", "-n", "before", "--size", "4M"});
  const Outcome refused = respaldo({"restore", "latest", "--to", "vg0/root", "--yes"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("vg0/before is a snapshot of vg0/root"));
  const Outcome warned = respaldo({"restore", "latest", "--to", "vg0/root", "--yes", "--in-place"});
  EXPECT_EQ(warned.code, 0) << warned.err;
  EXPECT_THAT(warned.err, HasSubstr("if more than that differs"));
}

TEST_F(RestoreVolume, a_snapshot_that_was_made_anew_is_not_the_one_that_was_spoken_of) {
  must({"-q", "snapshot", "create", "vg0/root", "-n", "before", "--size", "8M"});
  const auto engine = engine::make_image_engine({disks[0]});
  engine::VolumeChanges& changes = engine::volume_changes(*engine);
  const engine::MergePlan plan = changes.plan_merge({"vg0", "before"});
  must({"-q", "snapshot", "remove", "vg0/before", "--yes"});
  must({"-q", "snapshot", "create", "vg0/root", "-n", "before", "--size", "8M"});
  SilentProgress silent;
  EXPECT_THROW(changes.merge(plan, silent, {}), Error);
  EXPECT_THROW(engine->remove_snapshot(plan.snapshot, plan.uuid), Error);
  EXPECT_THAT(volumes(), HasSubstr("before"));
}

TEST_F(RestoreVolume, a_volume_is_rolled_back_to_its_snapshot) {
  must({"-q", "snapshot", "create", "vg0/root", "-n", "before", "--size", "8M"});
  {
    const auto engine = engine::make_image_engine({disks[0]});
    const auto volume = engine->open_write({"vg0", "root"});
    volume->write_at(1U << 20, testing::random_bytes(3U << 20, 5));
    volume->flush();
  }
  EXPECT_FALSE(same(read_volume("vg0/root"), image_));
  EXPECT_EQ(respaldo({"snapshot", "merge", "vg0/root", "--yes"}).code, 1);
  EXPECT_EQ(respaldo({"snapshot", "merge", "vg0/before"}).code, 1) << "nobody said yes";
  answers = {"y"};
  must({"snapshot", "merge", "vg0/before"});
  EXPECT_THAT(asked, HasSubstr(" MiB to put back"));
  answers.clear();
  EXPECT_TRUE(same(read_volume("vg0/root"), image_));
  EXPECT_THAT(must({"snapshot", "list"}), HasSubstr("there is no snapshot"));
}

TEST_F(RestoreVolume, a_dead_snapshot_is_not_merged) {
  must({"-q", "snapshot", "create", "vg0/root", "-n", "before", "--size", "4M"});
  {
    const auto engine = engine::make_image_engine({disks[0]});
    const auto volume = engine->open_write({"vg0", "root"});
    volume->write_at(0, testing::random_bytes(11U << 20, 5));
    volume->flush();
  }
  const Outcome outcome = respaldo({"snapshot", "merge", "vg0/before", "--yes"});
  EXPECT_EQ(outcome.code, 21);
  EXPECT_THAT(outcome.err, HasSubstr("snapshot remove vg0/before"));
}

}  // namespace
}  // namespace respaldo::cli
