// Backups of several hosts in one repository, with volumes of the same name: which one is brought back is never guessed,
// and is told.
#include "cli/program_test.h"
#include "repo/snapshot.h"

namespace respaldo::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

namespace fs = std::filesystem;

class OneHost : public ProgramWithDisk {
 protected:
  std::string save(const std::string& host, const std::string& volume = "vg0/root") {
    return must_json({"backup", volume, "--host", host})["backup"];
  }
  // The same backup, of another time.
  std::string redate(const std::string& id, std::int64_t seconds_from_now) {
    const auto opened = repo::Repository::open(store::open_location(repository()), "secret");
    repo::Snapshot snapshot = repo::find_snapshot(opened->snapshots(), id).snapshot;
    snapshot.time = repo::now();
    snapshot.time.seconds += seconds_from_now;
    return opened->save_unpacked(store::FileType::snapshot, repo::to_json(snapshot), store::Durability::now);
  }
};

// db's is the newer one, of other bytes.
class SeveralHosts : public OneHost {
 protected:
  SeveralHosts() {
    environment["TMPDIR"] = path("");
    web_ = save("web");
    of_web_ = image_.clone();
    image_.data()[5] ^= 1;
    fill_root();
    db_ = save("db");
  }
  // Those that bring data back, or compare.
  std::vector<std::vector<std::string>> commands(const std::string& latest) const {
    return {{"restore", latest, "--to-file", path("back")},
            {"restore", latest, "--to", "vg0/root", "--yes"},
            {"export", latest, "--raw", "-"},
            {"export", latest, "--raw", path("back")},
            {"cat", latest, "/vg0/root/image.raw"},
            {"check", "--device", "vg0/root", latest}};
  }
  std::string web_, db_;
  Bytes of_web_;
};

TEST_F(SeveralHosts, nobody_guesses_whose_latest_is_meant) {
  auto all = commands("latest");
  for (auto& words : commands("latest:vg0/root")) all.push_back(std::move(words));
  all.push_back({"restore", "latest", "--files", "--to", path("back")});
  all.push_back({"export", "latest", "--tar", path("back")});
  all.push_back({"check", "--device", "vg0/root"});
  for (const auto& words : all) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 2) << words[0];
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("2 hosts have backups"), HasSubstr("db (" + db_.substr(0, 8) + " of 2"),
                                   HasSubstr("web (" + web_.substr(0, 8) + " of 2"), HasSubstr("--host db")))
        << words[0];
    EXPECT_EQ(outcome.raw.size(), 0U) << words[0];
    EXPECT_FALSE(fs::exists(path("back"))) << words[0];
  }
  EXPECT_TRUE(same(respaldo({"dump", "vg0/root"}).raw, image_));
  EXPECT_THAT(respaldo(commands("latest:vg0/root")[0]).err, HasSubstr(db_.substr(0, 8) + ":vg0/root"));
}

TEST_F(SeveralHosts, this_machine_among_them_is_no_reason_to_guess) {
  must({"backup", "vg0/root"});
  must({"forget", db_, web_});
  EXPECT_EQ(respaldo({"restore", "latest", "--to-file", path("back")}).code, 0);
  save("web");
  EXPECT_EQ(respaldo({"restore", "latest", "--to-file", path("other")}).code, 2);
}

TEST_F(SeveralHosts, the_latest_of_a_host_is_named) {
  EXPECT_TRUE(same(respaldo({"export", "latest:vg0/root", "--raw", "-", "--host", "web"}).raw, of_web_));
  EXPECT_TRUE(same(respaldo({"export", "latest", "--raw", "-", "--host", "db"}).raw, image_));
  EXPECT_TRUE(same(respaldo({"cat", "latest", "/vg0/root/image.raw", "--host", "web"}).raw, of_web_));
  EXPECT_EQ(must_json({"check", "--device", "vg0/root", "--host", "db"})["host"], "db");
  EXPECT_EQ(respaldo({"check", "--device", "vg0/root", "--host", "web"}).code, 20);
  must({"restore", "latest:vg0/root", "--to", "vg0/root", "--yes", "--host", "web"});
  EXPECT_TRUE(same(respaldo({"dump", "vg0/root"}).raw, of_web_));
  const Outcome none = respaldo({"restore", "latest:vg0/root", "--to-file", path("back"), "--host", "mail"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("no backup of vg0/root of host mail"));
  EXPECT_EQ(respaldo({"check", "--host", "web"}).code, 2) << "without --device";
  EXPECT_THAT(respaldo({"drill", "--host", "mail"}).err, HasSubstr("no backup of a volume of host mail"));
  EXPECT_THAT(respaldo({"drill", "vg0/root", "--host", "mail"}).err, HasSubstr("no backup of vg0/root of host mail"));
}

TEST_F(SeveralHosts, an_id_says_all) {
  for (const auto& words : commands(web_.substr(0, 8) + ":vg0/root")) {
    EXPECT_EQ(respaldo(words).code, 0) << words[0];
    fs::remove(path("back"));
  }
  EXPECT_TRUE(same(respaldo({"dump", "vg0/root"}).raw, of_web_));
  const Outcome other = respaldo({"restore", web_, "--to-file", path("back"), "--host", "db"});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, AllOf(HasSubstr("host web"), HasSubstr("--host says db")));
}

TEST_F(SeveralHosts, a_volume_that_one_host_has_needs_no_host) {
  save("web", "vg0/home");
  must({"restore", "latest:vg0/home", "--to-file", path("back")});
  EXPECT_EQ(respaldo({"restore", "latest", "--volume", "vg0/home", "--to-file", path("other")}).code, 2);
}

TEST_F(SeveralHosts, who_looks_is_warned) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"show", "latest"},
                                                {"ls", "latest:vg0/root"},
                                                {"find", "image.raw", "--backup", "latest"},
                                                {"diff", web_, "latest"}}) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 0) << words[0] << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("warning: 2 hosts have such backups"), HasSubstr(db_.substr(0, 8)))) << words[0];
  }
  EXPECT_THAT(respaldo({"ls", web_}).err, Not(HasSubstr("hosts")));
}

TEST_F(OneHost, the_question_and_the_report_say_which_backup) {
  const std::string id = save("web"), which = "vg0/root of backup " + id.substr(0, 8) + " (2", host = ", host web)";
  answers = {"n"};
  respaldo({"restore", "latest", "--to", "vg0/root"});
  EXPECT_THAT(asked, AllOf(HasSubstr("overwrite vg0/root (12.00 MiB, UUID "), HasSubstr(") with " + which), HasSubstr(host + "?")));
  const std::string file = path("back");
  const std::vector<std::vector<std::string>> ways = {{"restore", "latest", "--to", "vg0/root", "--yes"},
                                                      {"restore", "latest", "--to", "vg0/root", "--yes", "--in-place"},
                                                      {"restore", "latest", "--to", "vg0/new", "--create"},
                                                      {"restore", "latest", "--to-file", file},
                                                      {"restore", "latest", "--to-file", file, "--yes", "--in-place"},
                                                      {"export", "latest", "--raw", file, "--yes"}};
  for (const auto& words : ways)
    EXPECT_THAT(must(words), AllOf(HasSubstr("restored " + which), HasSubstr(host + " onto "))) << words.back();
  must({"-q", "lvm", "lvremove", "-y", "vg0/new"});
  fs::remove(file);
  const std::string time = must_json({"list"})[0]["time"];
  for (const auto& words : ways) {
    const auto told = must_json(words);
    EXPECT_EQ(told["backup"], id) << words.back();
    EXPECT_EQ(told["host"], "web") << words.back();
    EXPECT_EQ(told["time"], time) << words.back();
  }
  asked.clear();
  answers = {"n"};
  respaldo({"restore", "latest", "--to-file", file});
  EXPECT_THAT(asked, AllOf(HasSubstr("with " + which), HasSubstr(host + "?")));
  EXPECT_THAT(must({"check", "--device", "vg0/root"}), AllOf(HasSubstr("compared with backup " + id.substr(0, 8)), HasSubstr(host)));
}

TEST_F(OneHost, a_latest_of_the_future_is_told) {
  const std::string sound = save("web"), ahead = redate(sound, std::int64_t{48} * 3600);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"restore", "latest", "--to-file", path("back")}, {"ls", "latest:vg0/root"}}) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("warning: the latest, backup " + ahead.substr(0, 8)), HasSubstr("in the future"),
                                   HasSubstr("before it is backup " + sound.substr(0, 8))))
        << words[0];
  }
  must({"forget", sound});
  EXPECT_THAT(respaldo({"ls", "latest"}).err, HasSubstr("There is no other"));
  EXPECT_EQ(respaldo({"ls", ahead}).err, "");
}

TEST_F(OneHost, clocks_may_differ_a_little) {
  redate(save("web"), std::int64_t{23} * 3600);
  EXPECT_EQ(respaldo({"ls", "latest"}).err, "");
}

TEST_F(OneHost, another_volume_of_that_name_is_told) {
  save("web");
  EXPECT_THAT(respaldo({"restore", "latest", "--to", "vg0/root", "--yes"}).err, Not(HasSubstr("UUID")));
  must({"-q", "lvm", "lvremove", "-y", "vg0/root"});
  must({"-q", "lvm", "lvcreate", "-L", "12m", "-n", "root", "vg0"});
  must({"-q", "lvm", "lvcreate", "-L", "12m", "-n", "other", "vg0"});
  const Outcome outcome = respaldo({"restore", "latest", "--to", "vg0/root", "--yes"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("warning: vg0/root here is not the volume that was saved on host web"));
  EXPECT_THAT(respaldo({"restore", "latest", "--to", "vg0/other", "--yes"}).err, Not(HasSubstr("here is not")));
}

}  // namespace
}  // namespace respaldo::cli
