// What lies at the place that is written to: asked about, and left alone while somebody uses it.
#include "cli/program_test.h"

namespace respaldo::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Beside server.img an image with a group of its own.
class Overwrite : public ProgramWithDisk {
 protected:
  Overwrite() {
    std::swap(disks[0], other_);
    disks[0] = make_image("other.img", 16U << 20);
    must({"-q", "lvm", "vgcreate", "vg1", disks[0]});
    std::swap(disks[0], other_);
    before_ = contents(other_);
    must({"-q", "backup", "vg0/root"});
  }
  std::vector<std::vector<std::string>> writers(const std::string& file) const {
    return {{"dump", "vg0/root", "-o", file},
            {"restore", "latest", "--to-file", file},
            {"restore", "latest", "--to-file", file, "--in-place"},
            {"export", "latest", "--raw", file},
            {"export", "latest", "--tar", file}};
  }

  std::string other_;
  Bytes before_;
};

TEST_F(Overwrite, the_disks_themselves_are_refused) {
  const Bytes before = contents(disks[0]);
  std::filesystem::create_symlink(disks[0], path("link"));
  for (const std::string& name : {disks[0], path("link")})
    for (std::vector<std::string> words : writers(name)) {
      words.emplace_back("--yes");
      const Outcome outcome = respaldo(words);
      EXPECT_EQ(outcome.code, 2) << words[0];
      EXPECT_THAT(outcome.err, HasSubstr("is one of the disks")) << words[0];
    }
  EXPECT_TRUE(same(contents(disks[0]), before));
}

TEST_F(Overwrite, what_cannot_be_restored_leaves_a_file_as_long_as_it_was) {
  std::filesystem::path largest;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(repository() + "/data"))
    if (entry.is_regular_file() && (largest.empty() || entry.file_size() > std::filesystem::file_size(largest)))
      largest = entry.path();
  std::filesystem::remove(largest);
  const std::string file = make_image("short.img", 5U << 20);
  const Outcome outcome = respaldo({"restore", "latest", "--to-file", file, "--in-place", "--yes"});
  EXPECT_NE(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("nothing was written"));
  EXPECT_EQ(std::filesystem::file_size(file), 5U << 20);
}

TEST_F(Overwrite, what_is_there_is_named_and_stays_without_a_yes) {
  for (const std::vector<std::string>& words : writers(other_)) {
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 1) << words[0];
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("overwrite " + other_ + " (16.00 MiB: a physical volume of vg1)" +
                                             (words[0] == "dump" ? "?" : " with ")),
                                   HasSubstr("--yes")));
  }
  EXPECT_TRUE(same(contents(other_), before_));
  must({"-q", "dump", "vg0/root", "-o", other_, "-y"});
  EXPECT_TRUE(same(contents(other_), image_));
  answers = {"n"};
  EXPECT_THAT(respaldo({"dump", "vg0/root", "-o", other_}).err, HasSubstr("nothing was written"));
  EXPECT_THAT(asked, HasSubstr("(12.00 MiB)?"));  // nothing known lies there now
}

TEST_F(Overwrite, what_somebody_else_uses_is_refused) {
  const auto user = engine::DiskSet::open({other_}, engine::LockMode::shared);
  for (std::vector<std::string> words : writers(other_)) {
    words.emplace_back("--yes");
    const Outcome outcome = respaldo(words);
    EXPECT_EQ(outcome.code, 11) << words[0];
    EXPECT_THAT(outcome.err, HasSubstr("other.img is locked by")) << words[0];
  }
  EXPECT_TRUE(same(contents(other_), before_));
}

TEST_F(Overwrite, any_file_may_be_replaced) {
  std::ofstream(path("empty")).close();
  std::ofstream(path("small")) << "x";
  for (const char* name : {"empty", "small"}) {
    must({"-q", "restore", "latest", "--to-file", path(name), "--yes"});
    EXPECT_TRUE(same(contents(path(name)), image_)) << name;
  }
}

}  // namespace
}  // namespace respaldo::cli
