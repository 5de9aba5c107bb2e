#include "journal/removed_bases.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace respaldo::journal {
namespace {

TEST(RemovedBases, are_remembered_by_later_runs) {
  const os::TemporaryFolder folder;
  const os::Path state = folder.path() / "state";
  EXPECT_FALSE(RemovedBases(state).holds("a"));
  RemovedBases(state).add("a");
  RemovedBases(state).add("b");
  RemovedBases(state).add("a");
  EXPECT_TRUE(RemovedBases(state).holds("a"));
  EXPECT_TRUE(RemovedBases(state).holds("b"));
  EXPECT_FALSE(RemovedBases(state).holds("ab"));
  EXPECT_FALSE(RemovedBases(state).holds(""));
  EXPECT_EQ(os::read_text(state / "removed_bases"), "b\na\n");
}

TEST(RemovedBases, that_are_very_old_are_forgotten) {
  const os::TemporaryFolder folder;
  std::string many;
  for (int i = 0; i < 4096; ++i) many += fmt::format("{}\n", i);
  os::AtomicFile file(folder.path() / "removed_bases", 0600);
  file.write(as_bytes(many));
  file.commit();
  const RemovedBases removed(folder.path());
  removed.add("new");
  EXPECT_FALSE(removed.holds("0"));
  EXPECT_TRUE(removed.holds("1"));
  EXPECT_TRUE(removed.holds("new"));
}

TEST(RemovedBases, without_a_state_are_not_remembered) {
  const RemovedBases removed{os::Path()};
  removed.add("a");
  EXPECT_FALSE(removed.holds("a"));
}

}  // namespace
}  // namespace respaldo::journal
