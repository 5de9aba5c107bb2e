#include "restore/beneath.h"

#include <fcntl.h>

#include "os/file.h"
#include "restore/files_test.h"

namespace respaldo::restore {
namespace {

namespace fs = std::filesystem;

class BeneathTest : public ::testing::TestWithParam<Beneath::Resolve> {};

TEST_P(BeneathTest, OpensFoldersAndNoLinks) {
  const os::TemporaryFolder folder;
  fs::create_directories(folder.path() / "in/a/b");
  fs::create_directory(folder.path() / "out");
  fs::create_directory_symlink("../out", folder.path() / "in/link");
  fs::create_directory_symlink("a", folder.path() / "in/near");
  fs::create_directory_symlink("../../out", folder.path() / "in/a/link");
  put(folder.path() / "in/file", "");
  const Beneath beneath(os::open_file(folder.path() / "in", O_PATH | O_DIRECTORY | O_CLOEXEC), GetParam());
  const auto inode = [](const os::UniqueFd& fd) {
    struct stat st {};
    EXPECT_EQ(::fstat(fd.get(), &st), 0);
    return st.st_ino;
  };
  EXPECT_EQ(inode(beneath.open_folder("")), stat_of(folder.path() / "in").st_ino);
  EXPECT_EQ(inode(beneath.open_folder("a/b")), stat_of(folder.path() / "in/a/b").st_ino);
  EXPECT_EQ(inode(beneath.open_folder("a", O_RDONLY)), stat_of(folder.path() / "in/a").st_ino);
  for (const char* path : {"link", "near", "near/b", "a/link", "file", "absent"})
    EXPECT_THROW(beneath.open_folder(path), Error) << path;
}
INSTANTIATE_TEST_SUITE_P(Both, BeneathTest,
                         ::testing::Values(Beneath::Resolve::kernel, Beneath::Resolve::by_hand));

TEST(NameProblem, KnowsWhatCannotBeAName) {
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("/"), std::string("\0", 1)})
    EXPECT_NE(name_problem(name), nullptr);
  for (const char* name : {"...", "a", " ", "\xff", "\n", ".hidden"}) EXPECT_EQ(name_problem(name), nullptr);
}

}  // namespace
}  // namespace respaldo::restore
