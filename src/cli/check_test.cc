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

TEST_F(CheckCommand, a_lost_configuration_is_told_and_comes_back_out_of_parity) {
  enable_parity();
  fs::remove(repository() + "/config");
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"list"}, {"init"}, {"parity"}, {"backup", "vg0/root"}}) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 1) << words[0];
    EXPECT_THAT(outcome.err,
                AllOf(HasSubstr("has lost its configuration"), HasSubstr("`respaldo check --repair`"),
                      Not(HasSubstr("init`"))));
  }
  must({"check", "--repair"});
  EXPECT_EQ(must_json({"list"}).size(), 1U);

  for (const fs::path& key : files("keys")) fs::remove(key);
  EXPECT_THAT(respaldo({"list"}).err, AllOf(HasSubstr("no keys at all"), HasSubstr("`respaldo check --repair`")));
  must({"check", "--repair"});
  EXPECT_EQ(must_json({"list"}).size(), 1U);
}

TEST_F(CheckCommand, without_parity_a_lost_configuration_is_told_as_well) {
  fs::remove(repository() + "/config");
  for (const char* word : {"list", "init"})
    EXPECT_THAT(respaldo({word}).err, AllOf(HasSubstr("has lost its configuration"), HasSubstr("from a copy"))) << word;
  // What an `init` that was killed leaves is none.
  for (const char* folder : {"snapshots", "index"})
    for (const fs::path& file : files(folder)) fs::remove(file);
  const Outcome outcome = respaldo({"list"});
  EXPECT_EQ(outcome.code, 10);
  EXPECT_THAT(outcome.err, HasSubstr("there is no repository"));
}

TEST_F(CheckCommand, packs_in_no_index_are_told_in_one_line) {
  EXPECT_THAT(must({"check"}), Not(HasSubstr("in no index")));
  for (const fs::path& file : files("index")) fs::remove(file);
  for (const fs::path& file : files("snapshots")) fs::remove(file);
  EXPECT_THAT(must({"check"}), AllOf(HasSubstr(" packs ("), HasSubstr("are in no index: `respaldo prune` removes them\n")));
  const auto json = must_json({"check"});
  EXPECT_GT(json["unreferenced_packs"], 1);
  EXPECT_GT(json["unreferenced_bytes"], 1 << 20);
}

// prune would end with what `repair index` brings back.
TEST_F(CheckCommand, what_only_the_index_lost_is_not_called_lost) {
  const auto only_index = [this](const std::vector<fs::path>& indexes) {
    for (const fs::path& file : indexes) fs::remove(file);
    const Outcome told = respaldo({"check", "-v"});
    EXPECT_EQ(told.code, 20);
    EXPECT_THAT(told.out, AllOf(HasSubstr("are in no index: "), Not(HasSubstr("prune` removes them"))));
    return told.out;
  };
  const auto told_of = [](const std::string& out, const std::string& what) {
    const std::size_t at = out.find(what), line = out.find('\n', at);
    return at == out.npos ? "" : out.substr(line, out.find('\n', line + 1) - line);
  };
  const std::string out = only_index(files("index"));
  for (const char* what : {"its tree", "its volumes cannot be found"})
    EXPECT_THAT(told_of(out, what), HasSubstr("  `respaldo repair index` brings back what only the index lost; else ")) << out;
  must({"repair", "index"});
  must({"check"});

  enable_parity();
  const std::string healed = only_index(files("index"));
  for (const char* what : {"its tree", "its volumes cannot be found"})
    EXPECT_THAT(told_of(healed, what), HasSubstr("  `respaldo check --repair` heals what parity can; for the rest: `respaldo "
                                                 "repair index` brings back")) << healed;
  EXPECT_THAT(healed, HasSubstr("are in no index: `respaldo check --repair` heals"));
}

}  // namespace
}  // namespace respaldo::cli
