// check through the command line: what it says of damage, and of what parity can do.
#include "cli/program_test.h"

namespace respaldo::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CheckCommand : public ProgramWithDisk {
 protected:
  CheckCommand() { must({"-q", "backup", "vg0/root"}); }
  void enable_parity() { must({"-q", "parity", "enable"}); }
  std::vector<fs::path> files(const std::string& folder) const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(repository()) / folder))
      if (entry.is_regular_file()) found.push_back(entry.path());
    return found;
  }
  // More than any parity brings back.
  void ruin(const fs::path& file) {
    fs::permissions(file, fs::perms::owner_all);
    const Bytes noise = testing::random_bytes(fs::file_size(file), 7);
    std::ofstream(file, std::ios::binary) << as_text(noise);
  }
};

TEST_F(CheckCommand, what_is_beyond_help_is_no_success) {
  enable_parity();
  const auto packs = files("data");
  const fs::path pack = *std::ranges::max_element(packs, {}, [](const fs::path& file) { return fs::file_size(file); });
  ruin(pack);
  const Outcome told = respaldo({"check", "--repair"});
  EXPECT_EQ(told.code, 20);
  EXPECT_THAT(told.out,
              AllOf(HasSubstr("1 beyond help"), HasSubstr("ERRORS WERE FOUND"), Not(HasSubstr("no errors")),
                    HasSubstr("`respaldo repair packs " + pack.filename().native().substr(0, 8) + "`"),
                    HasSubstr("`respaldo repair snapshots`")));
  const Outcome json = respaldo({"--json", "check", "--repair"});
  EXPECT_EQ(json.code, 20);
  EXPECT_EQ(nlohmann::json::parse(json.out).at("ok"), false);
}

}  // namespace
}  // namespace respaldo::cli
