// Snapshots by hand, on images that nobody serves.
#include "cli/program_test.h"

namespace respaldo::cli {
namespace {

using ::testing::HasSubstr;

TEST_F(ProgramWithDisk, a_snapshot_is_made_listed_extended_read_and_removed) {
  const auto made = must_json({"snapshot", "create", "vg0/root", "-n", "before", "--size", "50%ORIGIN"});
  EXPECT_EQ(made["snapshot"], "vg0/before");
  EXPECT_EQ(made["cow"]["size"], 8U << 20) << "6 MiB in whole extents";
  const auto list = must_json({"snapshot", "list"});
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0]["origin"], "vg0/root");
  EXPECT_EQ(list[0]["kind"], "thick");
  EXPECT_THAT(must({"snapshot", "watch", "vg0/before", "--count", "1"}), HasSubstr("of 8.00 MiB"));
  const auto more = must_json({"snapshot", "extend", "vg0/before", "--by", "1M"});
  EXPECT_EQ(more["added"], 4U << 20);
  EXPECT_EQ(more["cow"]["size"], 12U << 20);
  EXPECT_EQ(must_json({"snapshot", "extend", "vg0/before", "--by", "1G"})["cow"]["size"], 16U << 20) << "all that is of use";
  const Outcome enough = respaldo({"snapshot", "extend", "vg0/before", "--by", "4M"});
  EXPECT_EQ(enough.code, 1);
  EXPECT_THAT(enough.err, HasSubstr("as large as can ever be used"));
  EXPECT_EQ(respaldo({"snapshot", "extend", "vg0/root", "--by", "4M"}).code, 2);
  EXPECT_EQ(must_json({"backup", "--from-snapshot", "vg0/before"})["volumes"][0]["how"], "given");
  EXPECT_THAT(must({"clean"}), HasSubstr("nothing was left behind"));
  EXPECT_EQ(respaldo({"snapshot", "remove", "vg0/root", "--yes"}).code, 1);
  must({"snapshot", "remove", "vg0/before", "--yes"});
  EXPECT_THAT(must({"snapshot", "list"}), HasSubstr("there is no snapshot"));
}

TEST_F(ProgramWithDisk, a_snapshot_sizes_and_names_itself_and_leaves_extents_free) {
  const auto made = must_json({"snapshot", "create", "vg0/home"});
  EXPECT_THAT(made["snapshot"].get<std::string>(), HasSubstr("vg0/home_"));
  EXPECT_EQ(made["cow"]["size"], 8U << 20) << "never more than can be used";
  EXPECT_EQ(respaldo({"snapshot", "create", "vg0/home", "--keep-free", "100%"}).code, 1);
  EXPECT_EQ(respaldo({"snapshot", "create", "vg0/home", "--size", "20%PVS"}).code, 2);
  EXPECT_EQ(respaldo({"snapshot", "create", "vg0/nothing"}).code, 1);
  EXPECT_EQ(respaldo({"snapshot"}).code, 2);
}

}  // namespace
}  // namespace respaldo::cli
