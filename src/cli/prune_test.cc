// prune, where it would remove what somebody still wants.
#include "cli/program_test.h"
#include "testing/memory_repository.h"

namespace respaldo::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class PruneCommand : public Program {
 protected:
  PruneCommand() {
    make_repository();
    store();
  }
  void store() {
    const auto repository_in = repo::Repository::open(store::open_location(repository()), "secret");
    backup_ = testing::store_image(*repository_in, testing::random_bytes(1U << 20, 5), {}, 64U << 10,
                                   testing::small_packs())
                  .hex();
  }
  std::size_t packs() {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(repository() + "/data"))
      count += entry.is_regular_file();
    return count;
  }
  std::string object() const { return repository() + "/snapshots/" + backup_; }

  std::string backup_;
};

TEST_F(PruneCommand, asks_before_everything_goes) {
  must({"forget", backup_});
  must({"prune", "--dry-run"});
  const Outcome outcome = respaldo({"prune"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("No backup is listed"), HasSubstr("--yes")));
  answers = {"n"};
  EXPECT_EQ(respaldo({"prune"}).code, 1);
  EXPECT_GT(packs(), 0U);
  must({"prune", "--yes"});
  EXPECT_EQ(packs(), 0U);
  must({"prune"});
}

TEST_F(PruneCommand, removes_all_that_was_forgotten_in_the_same_breath) {
  must({"forget", "--prune", backup_});
  EXPECT_EQ(packs(), 0U);
}

TEST_F(PruneCommand, takes_no_missing_folder_for_an_empty_list) {
  std::filesystem::remove_all(repository() + "/snapshots");
  for (const auto& words : {std::vector<std::string>{"prune", "--yes"}, {"prune", "--dry-run"}}) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("no folder `snapshots`"), HasSubstr("mounted")));
  }
  EXPECT_GT(packs(), 0U);
}

TEST_F(PruneCommand, leaves_the_data_of_backups_that_parity_knows) {
  must({"parity", "enable"});
  std::filesystem::remove(object());
  const Outcome outcome = respaldo({"prune", "--yes"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("parity knows 1 backup that is not there"),
                    HasSubstr("parity restore " + backup_.substr(0, 8)), HasSubstr("parity update")));
  EXPECT_GT(packs(), 0U);
  must({"parity", "restore", backup_});
  must({"prune"});
  EXPECT_TRUE(std::filesystem::exists(object()));
  // What another program forgot is forgotten once that is said.
  std::filesystem::remove(object());
  must({"parity", "update"});
  must({"prune", "--yes"});
  EXPECT_EQ(packs(), 0U);
}

TEST_F(PruneCommand, what_was_forgotten_here_is_not_taken_for_lost) {
  must({"parity", "enable"});
  const std::string first = backup_;
  store();
  must({"forget", first});
  must({"prune"});
  must({"forget", "--prune", backup_});
  EXPECT_EQ(packs(), 0U);
}

}  // namespace
}  // namespace respaldo::cli
