// Backups that cannot be read, wholly or in part, are nothing that a drill passes or that a restore goes
// past.
#include "cli/program_test.h"

namespace respaldo::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

class UnreadableBackups : public ProgramWithDisk {
 protected:
  UnreadableBackups() { environment["TMPDIR"] = path(""); }

  std::string backup(std::vector<std::string> words) {
    words.insert(words.begin(), "backup");
    return must_json(words)["backup"];
  }
  void damage(const fs::path& file) {
    fs::permissions(file, fs::perms::owner_all);
    fs::resize_file(file, fs::file_size(file) - 1);
  }
  void damage_backup(const std::string& id) { damage(repository() + "/snapshots/" + id); }
  // The pack that holds the backup's root folder, and those below.
  void lose_trees(const std::string& id) {
    const auto opened = repo::Repository::open(store::open_location(repository()), "secret");
    const auto named = repo::find_snapshot(opened->snapshots(), id);
    SilentProgress silent;
    const auto place = opened->load_index(silent).find(repo::BlobType::tree, named.snapshot.tree);
    ASSERT_TRUE(place);
    const std::string pack = place->pack.hex();
    fs::remove(repository() + "/data/" + pack.substr(0, 2) + "/" + pack);
  }
  // The verdicts by volume.
  std::map<std::string, std::string> drill(int code, std::vector<std::string> words = {}) {
    words.insert(words.begin(), {"--json", "drill"});
    const Outcome outcome = respaldo(std::move(words));
    EXPECT_EQ(outcome.code, code) << outcome.err;
    const auto reports = nlohmann::json::parse(outcome.out, nullptr, false);
    std::map<std::string, std::string> verdicts;
    if (reports.is_array())
      for (const auto& report : reports) verdicts[report["volume"]] = report["verdict"];
    return verdicts;
  }
};

using Verdicts = std::map<std::string, std::string>;

TEST_F(UnreadableBackups, a_drill_ends_with_20_and_tries_the_rest) {
  backup({"vg0/root"});
  EXPECT_EQ(drill(0), (Verdicts{{"vg0/root", "unchecked"}}));
  damage_backup(backup({"vg0/root"}));
  EXPECT_EQ(drill(20), (Verdicts{{"vg0/root", "unchecked"}}));
  const Outcome told = respaldo({"drill", "vg0/root"});
  EXPECT_EQ(told.code, 20);
  EXPECT_THAT(told.out,
              AllOf(HasSubstr("UNCHECKED"), HasSubstr("1 of the repository's backups cannot be read")));
}

TEST_F(UnreadableBackups, a_drill_tells_volumes_that_may_be_in_them_alone) {
  backup({"vg0/root"});
  damage_backup(backup({"vg0/home"}));
  const Outcome told = respaldo({"drill", "vg0/root", "vg0/home"});
  EXPECT_EQ(told.code, 20);
  EXPECT_THAT(told.out, AllOf(HasSubstr("UNCHECKED"), HasSubstr("vg0/home: DAMAGED")));
  EXPECT_THAT(respaldo({"--json", "drill", "vg0/home"}).err, HasSubstr("vg0/home: DAMAGED"));
}

TEST_F(UnreadableBackups, a_drill_of_nothing_else_ends_with_20) {
  damage_backup(backup({"vg0/root"}));
  EXPECT_EQ(drill(20), Verdicts{});
}

TEST_F(UnreadableBackups, folders_that_are_lost_are_a_verdict_and_no_end) {
  backup({"vg0/home"});
  lose_trees(backup({"vg0/root"}));
  EXPECT_EQ(drill(20), (Verdicts{{"vg0/root", "damaged"}, {"vg0/home", "unchecked"}}));
  const Outcome told = respaldo({"drill", "vg0/root"});
  EXPECT_EQ(told.code, 20);
  EXPECT_THAT(told.out, AllOf(HasSubstr("vg0/root, backup "), HasSubstr("DAMAGED: it cannot be restored")));
}

TEST_F(UnreadableBackups, an_index_that_is_damaged_is_a_verdict) {
  backup({"vg0/root"});
  for (const auto& entry : fs::directory_iterator(repository() + "/index")) damage(entry);
  EXPECT_EQ(drill(20), (Verdicts{{"vg0/root", "damaged"}}));
}

TEST_F(UnreadableBackups, an_image_that_a_repair_gave_up_is_a_verdict) {
  const std::string id = backup({"vg0/root"});
  {
    const auto opened = repo::Repository::open(store::open_location(repository()), "secret");
    repo::Snapshot snapshot = repo::find_snapshot(opened->snapshots(), id).snapshot;
    snapshot.paths.emplace_back("/dev/vg0/home");
    opened->save_unpacked(store::FileType::snapshot, repo::to_json(snapshot), store::Durability::now);
  }
  must({"-q", "forget", id});
  EXPECT_EQ(drill(20), (Verdicts{{"vg0/root", "unchecked"}, {"vg0/home", "damaged"}}));
}

TEST_F(UnreadableBackups, what_brings_data_back_does_not_take_an_older_one_for_the_latest) {
  const std::string older = backup({"vg0/root"});
  const std::string newer = backup({"vg0/root"});
  damage_backup(newer);
  const std::vector<std::vector<std::string>> commands = {
      {"restore", "latest", "--to-file", path("restored")},
      {"restore", "latest:vg0/root", "--to-file", path("restored")},
      {"restore", "latest", "--to", "vg0/root", "--yes"},
      {"restore", "latest", "--files", "--to", path("restored")},
      {"export", "latest", "--raw", path("restored")},
      {"export", "latest", "--raw", "-"},
      {"export", "latest:vg0/root", "--tar", path("restored")},
      {"cat", "latest", "/vg0/root/volume.json"},
      {"check", "--device", "vg0/root"}};
  for (const auto& words : commands) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 1) << words[0];
    EXPECT_THAT(outcome.err,
                AllOf(HasSubstr(newer.substr(0, 8)), HasSubstr("cannot be read"),
                      HasSubstr("the newest that can be read is of 2"), HasSubstr(older.substr(0, 8))))
        << words[0];
    EXPECT_FALSE(fs::exists(path("restored"))) << words[0];
    EXPECT_EQ(outcome.raw.size(), 0U) << words[0];
  }
  EXPECT_THAT(respaldo(commands[1]).err, HasSubstr(older.substr(0, 8) + ":vg0/root"));
}

TEST_F(UnreadableBackups, an_id_is_what_it_says) {
  const std::string older = backup({"vg0/root"});
  damage_backup(backup({"vg0/root"}));
  const Outcome outcome =
      respaldo({"restore", older.substr(0, 8) + ":vg0/root", "--to-file", path("restored")});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("warning: "));
  EXPECT_TRUE(same(contents(path("restored")), image_));
}

TEST_F(UnreadableBackups, who_looks_is_warned) {
  backup({"vg0/root"});
  damage_backup(backup({"vg0/root"}));
  for (const std::vector<std::string>& words : {std::vector<std::string>{"show", "latest"},
                                                {"ls", "latest"},
                                                {"find", "image.raw", "--backup", "latest"},
                                                {"diff", "latest", "latest"}}) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 0) << words[0] << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("warning: ")) << words[0];
  }
}

TEST_F(UnreadableBackups, without_another_one_that_is_said) {
  damage_backup(backup({"vg0/root"}));
  const Outcome outcome = respaldo({"restore", "latest", "--to-file", path("restored")});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("cannot be read"), HasSubstr("there is no other")));
}

}  // namespace
}  // namespace respaldo::cli
