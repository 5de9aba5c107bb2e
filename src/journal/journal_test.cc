#include "journal/journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "journal/names.h"

namespace respaldo::journal {
namespace {

class JournalTest : public testing::Test {
 protected:
  os::TemporaryFolder folder_;
  const os::Path& state() const { return folder_.path(); }
  std::size_t files() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(state() / "journal"))
      ++count;
    return count;
  }
  // What a run leaves that dies after `body`.
  template <class Body>
  void die_after(Body body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      Journal journal(state());
      body(journal);
      ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
};

// First of all: what is held, and where, is read once in a process.
TEST_F(JournalTest, a_cleaner_that_looks_into_a_new_journal_does_not_take_its_lock_away) {
  const os::Path held = state() / "held";
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setenv("RESPALDO_HOLD_AT", "journal made", 1);
    ::setenv("RESPALDO_HOLD_FILE", held.c_str(), 1);
    Journal journal(state());
    journal.begin("snapshot", {});
    std::ofstream(state() / "begun") << "x";
    ::pause();
  }
  const auto wait_for = [](const os::Path& path) {
    for (int i = 0; i < 200 && !std::filesystem::exists(path); ++i) ::usleep(50'000);
    return std::filesystem::exists(path);
  };
  EXPECT_TRUE(wait_for(held));
  {
    const auto file = *std::filesystem::directory_iterator(state() / "journal");
    const auto cleaner = os::FileLock::try_lock(file.path(), os::FileLock::Mode::exclusive, O_RDWR);
    EXPECT_TRUE(cleaner);
    std::filesystem::remove(held);
    ::usleep(200'000);
  }
  EXPECT_TRUE(wait_for(state() / "begun"));
  EXPECT_TRUE(dead_journals(state()).empty()) << "its run lives";
  ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(dead_journals(state()).size(), 1U);
}

TEST_F(JournalTest, a_run_that_ends_its_intents_leaves_nothing) {
  {
    Journal journal(state());
    const auto id = journal.begin("snapshot", {{"vg", "vg0"}});
    EXPECT_EQ(files(), 1U);
    journal.end(id);
  }
  EXPECT_EQ(files(), 0U);
}

TEST_F(JournalTest, a_living_run_is_not_dead) {
  Journal journal(state());
  journal.begin("snapshot", {});
  EXPECT_TRUE(dead_journals(state()).empty());
}

TEST_F(JournalTest, what_a_killed_run_had_begun_is_found_newest_first) {
  die_after([](Journal& journal) {
    const auto first = journal.begin("snapshot", {{"lv", "a"}});
    journal.begin("snapshot", {{"lv", "b"}});
    journal.end(journal.begin("snapshot", {{"lv", "c"}}));
    journal.add(first, {{"lv_uuid", "x"}});
  });
  auto dead = dead_journals(state());
  ASSERT_EQ(dead.size(), 1U);
  ASSERT_EQ(dead[0].open_intents().size(), 2U);
  EXPECT_EQ(dead[0].open_intents()[0].facts.at("lv"), "b");
  EXPECT_EQ(dead[0].open_intents()[1].facts.at("lv"), "a");
  EXPECT_EQ(dead[0].open_intents()[1].facts.at("lv_uuid"), "x");
  EXPECT_TRUE(dead_journals(state()).empty()) << "two cleaners work on one journal";
  dead[0].forget();
  dead.clear();
  EXPECT_TRUE(dead_journals(state()).empty());
  EXPECT_EQ(files(), 0U);
}

TEST_F(JournalTest, what_a_journal_says_is_heard_whoever_holds_it) {
  Journal journal(state());
  journal.begin("snapshot", {});
  { Journal(state()).begin("volume", {{"lv_uuid", "x"}}); }
  const auto cleaner = dead_journals(state());
  EXPECT_EQ(cleaner.size(), 1U);
  EXPECT_EQ(all_intents(state()).size(), 2U);
  EXPECT_TRUE(all_intents(state() / "nothing").empty());
}

TEST_F(JournalTest, intents_left_open_are_for_clean) {
  { Journal(state()).begin("snapshot", {}); }
  EXPECT_EQ(dead_journals(state()).size(), 1U);
}

TEST_F(JournalTest, a_machine_without_journals_has_no_dead_ones) {
  EXPECT_TRUE(dead_journals(state() / "nothing").empty());
}

TEST(ParseJournal, a_torn_last_line_was_never_relied_on) {
  const std::string whole = "{\"begin\":1,\"kind\":\"snapshot\",\"facts\":{}}\n";
  for (std::size_t cut = 0; cut < whole.size(); ++cut)
    EXPECT_TRUE(parse_journal(std::string_view(whole).substr(0, cut)).empty());
  EXPECT_EQ(parse_journal(whole).size(), 1U);
  EXPECT_EQ(parse_journal(whole + "\0\0garbage\n" + "{\"end\":2}\n[]\n{\"begin\":\"x\"}\n").size(), 1U);
}

TEST(Names, a_volume_name_is_recognised_and_never_repeats) {
  const std::string one = new_volume_name(), two = new_volume_name();
  EXPECT_NE(one, two);
  EXPECT_TRUE(is_volume_name(one));
  for (const char* foreign :
       {"respaldo_", "respaldo_x", "root", "respaldo_0123456789abcdeg", "respaldo_0123456789abcdef0"})
    EXPECT_FALSE(is_volume_name(foreign)) << foreign;
}

TEST(Owner, the_own_process_lives_and_is_here) {
  const Owner& me = Owner::self();
  EXPECT_TRUE(me.alive());
  EXPECT_EQ(Owner::from_tag(me.tag()), me);
  EXPECT_LE(me.tag().size(), 128U);
}

TEST(Owner, a_later_process_with_the_same_number_is_another) {
  Owner other = Owner::self();
  ++other.start;
  EXPECT_FALSE(other.alive());
}

TEST(Owner, nothing_lives_from_before_the_boot) {
  Owner before = Owner::self();
  before.boot = before.boot == "00000000" ? "00000001" : "00000000";
  EXPECT_TRUE(before.here());
  EXPECT_FALSE(before.alive());
}

TEST(Owner, other_machines_are_told_apart) {
  Owner other = Owner::self();
  other.machine = other.machine == "00000000" ? "00000001" : "00000000";
  EXPECT_FALSE(other.here());
  EXPECT_FALSE(other.alive());
}

TEST(Owner, strange_tags_are_nobodys) {
  for (const char* tag :
       {"respaldo", "respaldo_owner_", "respaldo_owner_1_2_3_4", "respaldo_owner_00000000_00000000_x_1",
        "respaldo_owner_00000000_00000000_1_1_1", "respaldo_owner_0000000g_00000000_1_1"})
    EXPECT_FALSE(Owner::from_tag(tag)) << tag;
}

}  // namespace
}  // namespace respaldo::journal
