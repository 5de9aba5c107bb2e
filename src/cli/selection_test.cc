// Which backups the commands mean that remove, copy and rewrite some.
#include "cli/program_test.h"

namespace respaldo::cli {
namespace {

using ::testing::HasSubstr;

// One backup of the host web, with a tag; a newer one of the host db, of another volume.
class Selection : public ProgramWithDisk {
 protected:
  Selection() {
    web_ = save({"backup", "vg0/home", "--host", "web", "--tag", "nightly"});
    db_ = save({"backup", "vg0/root", "--host", "db"});
  }
  std::string save(std::vector<std::string> words) { return must_json(std::move(words))["backup"]; }
  bool listed(const std::string& id) {
    for (const auto& backup : must_json({"list"}))
      if (backup["id"] == id) return true;
    return false;
  }
  // Each of these filters leaves web's backup alone.
  static std::vector<std::vector<std::string>> filters() {
    return {{"--host", "web"}, {"--tag", "nightly"}, {"--volume", "vg0/home"}, {"--path", "/dev/vg0/home"}};
  }
  static std::vector<std::string> with(std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  std::string web_, db_;
};

TEST_F(Selection, the_latest_that_is_forgotten_is_that_of_the_filter) {
  for (const auto& filter : filters()) {
    const auto plan = must_json(with({"forget", "latest", "--dry-run"}, filter));
    EXPECT_EQ(plan["removed"], (nlohmann::json{web_})) << filter[0];
  }
  must({"forget", "latest", "--host", "web"});
  EXPECT_FALSE(listed(web_));
  EXPECT_TRUE(listed(db_));
}

TEST_F(Selection, the_latest_of_a_filter_that_nothing_fits_is_none) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"forget", "latest", "--host", "mail"},
                                                {"repair", "snapshots", "--forget", "latest", "--host", "mail"}}) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 1) << words[0];
    EXPECT_THAT(outcome.err, HasSubstr("no backup fits the filter")) << words[0];
  }
  EXPECT_TRUE(listed(web_) && listed(db_));
}

TEST_F(Selection, the_latest_of_several_hosts_is_that_of_none) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"forget", "latest"},
                                                {"repair", "snapshots", "--forget", "latest"}}) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 2) << words[0];
    EXPECT_THAT(outcome.err, ::testing::AllOf(HasSubstr("2 hosts have backups"), HasSubstr("web"), HasSubstr("give --host"))) << words[0];
  }
  EXPECT_TRUE(listed(web_) && listed(db_));
}

TEST_F(Selection, an_id_that_the_filter_does_not_fit_is_refused) {
  for (const auto& filter : filters()) {
    const Outcome outcome = respaldo(with({"forget", web_, db_}, filter));
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, HasSubstr("backup " + db_.substr(0, 8) + " does not fit the filter")) << filter[0];
  }
  EXPECT_TRUE(listed(web_) && listed(db_));
  must({"forget", web_, "--host", "web"});
  EXPECT_FALSE(listed(web_));
}

TEST_F(Selection, the_latest_that_is_copied_is_that_of_the_filter) {
  environment["RESPALDO_FROM_PASSWORD"] = "secret";
  repo::Repository::CreateOptions options;
  options.scrypt = crypto::ScryptParameters{1024, 1, 1};
  repo::Repository::create(store::open_location(path("other")), "secret", options);
  const Outcome outcome = run({"--json", "-r", path("other"), "copy", "--from-repo", repository(), "latest", "--host", "web"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto copied = nlohmann::json::parse(outcome.out)["backups"];
  ASSERT_EQ(copied.size(), 1U);
  EXPECT_EQ(copied[0]["from"], web_);
}

TEST_F(Selection, the_latest_that_is_repaired_is_that_of_the_filter) {
  // Both have losses: all data is gone.
  for (const auto& pack : std::filesystem::recursive_directory_iterator(repository() + "/data"))
    if (pack.is_regular_file() && pack.file_size() > (1U << 20)) std::filesystem::remove(pack.path());
  const auto report = must_json({"repair", "snapshots", "--dry-run", "latest", "--host", "web"});
  EXPECT_EQ(report["examined"], 1);
  EXPECT_EQ(report["backups"].size(), 0U) << "web's holds zeros alone: " << report.dump();
}

}  // namespace
}  // namespace respaldo::cli
