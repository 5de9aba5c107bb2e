// How a backup ends: what it says, its exit code and its hooks are about what is saved.
#include "cli/program_test.h"
#include "repo/lock.h"

namespace respaldo::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class BackupEnd : public ProgramWithDisk {
 protected:
  BackupEnd() {
    std::ofstream(path("hook")) << "#!/bin/sh\nprintf '%s %s, %s locks, %s: %s\\n' \"$RESPALDO_HOOK\" \"$RESPALDO_EXIT_CODE\" "
                                << "\"$(ls '" << repository() << "/locks' 2>/dev/null | wc -l)\" \"$RESPALDO_VOLUMES\" "
                                << "\"$RESPALDO_ERROR$RESPALDO_BACKUP\" >>'" << path("told") << "'\n";
    std::filesystem::permissions(path("hook"), std::filesystem::perms::owner_all);
  }
  // A backup with both hooks; what they were told.
  std::string told(const std::vector<std::string>& more, int code) {
    std::filesystem::remove(path("told"));
    std::vector<std::string> words = {"--json", "backup", "--hook-success", path("hook"), "--hook-failure", path("hook")};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    return std::filesystem::exists(path("told")) ? os::read_text(path("told")) : "";
  }
  // The hard disk fails behind the first mebibytes of root.
  void lose_the_end_of_the_disk() { std::filesystem::resize_file(disks[0], 10U << 20); }
};

constexpr const char* kVerifies = "\"event\":\"begin\",\"phase\":\"verify on the medium\"";

TEST_F(BackupEnd, a_stop_before_it_is_listed_saves_nothing) {
  stop_at = kVerifies;
  const Outcome outcome = respaldo({"--json", "backup", "vg0/home", "--verify"});
  EXPECT_EQ(outcome.code, 130);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("no backup was saved"), HasSubstr("\"exit_code\":130"), HasSubstr("\"kind\":\"interrupted\"")));
  EXPECT_EQ(must_json({"list"}).size(), 0U);
}

TEST_F(BackupEnd, a_stop_after_it_is_listed_does_not_deny_it) {
  stop_at = kVerifies;
  stop_at_time = 2;  // its own object is read back when it is listed
  const Outcome outcome = respaldo({"--json", "backup", "vg0/home", "--verify"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, Not(HasSubstr("interrupted")));
  const auto listed = must_json({"list"});
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["backup"], listed[0]["id"]);
}

TEST_F(BackupEnd, a_stop_while_nobody_reads_its_report_does_not_deny_it) {
  nobody_reads = true;
  EXPECT_THAT(told({"vg0/home"}, 0), StartsWith("success 0, 0 locks, vg0/home: "));
  EXPECT_THAT(respaldo({"backup", "vg0/home"}).err, HasSubstr("is saved, but not all of its report is written"));
  nobody_reads = false;
  EXPECT_EQ(must_json({"list"}).size(), 2U);
}

TEST_F(BackupEnd, hooks_run_last_and_know_the_exit_code) {
  EXPECT_THAT(told({"vg0/home", "--verify"}, 0), MatchesRegex("success 0, 0 locks, vg0/home: [0-9a-f]*\n"));
  EXPECT_EQ(told({"vg0/home", "--dry-run"}, 0), "") << "nothing was saved, and nothing failed";
}

TEST_F(BackupEnd, the_failure_hook_is_told_of_a_stop) {
  stop_at = kVerifies;
  EXPECT_EQ(told({"vg0/home", "--verify"}, 130), "failure 130, 0 locks, vg0/home: interrupted; no backup was saved\n");
}

TEST_F(BackupEnd, the_failure_hook_is_told_whatever_fails) {
  EXPECT_THAT(told({"vg0/nosuch"}, 1), StartsWith("failure 1, 0 locks, vg0/nosuch: there is no"));
  environment["RESPALDO_PASSWORD"] = "wrong";
  EXPECT_THAT(told({"vg0/home"}, 12), StartsWith("failure 12, "));
  environment["RESPALDO_PASSWORD"] = "secret";
  {
    const auto other = repo::Repository::open(store::open_location(repository()), "secret");
    const auto lock = repo::RepoLock::acquire(*other, repo::LockKind::exclusive);
    EXPECT_THAT(told({"vg0/home"}, 11), AllOf(StartsWith("failure 11, "), HasSubstr("lock")));
  }
  std::filesystem::rename(repository(), path("elsewhere"));
  EXPECT_THAT(told({"vg0/home"}, 10), StartsWith("failure 10, "));
}

TEST_F(BackupEnd, an_incomplete_one_is_no_success) {
  lose_the_end_of_the_disk();
  const std::string told = this->told({"vg0/root", "--on-read-error", "skip"}, 3);
  EXPECT_THAT(told, AllOf(StartsWith("failure 3, 0 locks, vg0/root: "), HasSubstr("incomplete: vg0/root: 3.00 MiB")));
  ASSERT_EQ(must_json({"list"}).size(), 1U);
  EXPECT_EQ(must_json({"list"})[0]["incomplete"], true);
  EXPECT_THAT(must({"list"}), HasSubstr("INCOMPLETE"));
  EXPECT_THAT(must({"show", "latest"}), AllOf(HasSubstr("INCOMPLETE"), HasSubstr("  LOST          3.00 MiB at byte ")));
}

TEST_F(BackupEnd, an_incomplete_one_does_not_replace_the_last_whole_one) {
  const std::string whole = must_json({"backup", "vg0/root"})["backup"];
  lose_the_end_of_the_disk();
  for (int nights = 0; nights < 2; ++nights) {
    EXPECT_EQ(respaldo({"backup", "vg0/root", "--on-read-error", "skip"}).code, 3);
    const auto kept = must_json({"forget", "--keep-last", "1"})["groups"][0]["keep"];
    ASSERT_EQ(kept.size(), 2U);
    EXPECT_EQ(kept[1]["id"], whole);
    EXPECT_EQ(kept[1]["reasons"], (nlohmann::json{"newest whole snapshot"}));
  }
}

}  // namespace
}  // namespace respaldo::cli
