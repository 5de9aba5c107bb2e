// ls through the command line.
#include "cli/program_test.h"
#include "testing/memory_repository.h"

namespace respaldo::cli {
namespace {

using ::testing::HasSubstr;

class Look : public Program {
 protected:
  Look() {
    make_repository();
    const auto repository = repo::Repository::open(store::open_location(this->repository()), "secret");
    testing::HandMadeBackup backup(*repository);
    const auto lost = testing::folder_node("lost", repo::BlobId{});
    const auto below = backup.tree({lost, testing::file_node("y", 0, {})});
    backup.save(backup.tree({testing::folder_node("a", below), lost, testing::file_node("z", 0, {})}));
  }
};

TEST_F(Look, DamageIsToldAndTheRestListed) {
  const Outcome outcome = respaldo({"ls"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "/a\n/a/lost\n/a/y\n/lost\n/z\n");
  EXPECT_THAT(outcome.err, HasSubstr("warning: /a/lost: "));
  EXPECT_THAT(outcome.err, HasSubstr("warning: /lost: "));
  EXPECT_EQ(respaldo({"ls", "--flat"}).code, 0);
}

TEST_F(Look, JsonIsWholeWhateverIsDamaged) {
  const Outcome outcome = respaldo({"--json", "ls"});
  EXPECT_EQ(outcome.code, 1);
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  ASSERT_EQ(json.size(), 5U);
  EXPECT_EQ(json[4]["path"], "/z");
  // Not even the folder that was asked for.
  const Outcome lost = respaldo({"--json", "ls", "latest", "/lost"});
  EXPECT_EQ(lost.code, 1);
  EXPECT_EQ(lost.out, "");
}

}  // namespace
}  // namespace respaldo::cli
