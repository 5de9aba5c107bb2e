#include "restore/file_metadata.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "os/file.h"
#include "restore/files_test.h"

namespace respaldo::restore {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Longer lists than fit into a page: tmpfs keeps them, most disks' filesystems do not.
TEST(SetMetadata, ForeignAttributesGoHoweverManyThereAre) {
  const os::UniqueFd fd(::open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  for (int i = 0; i < 40; ++i) {
    const std::string name = "user.foreign" + std::to_string(i) + std::string(200, 'n');
    if (::fsetxattr(fd.get(), name.c_str(), "x", 1, 0) != 0) GTEST_SKIP() << "no attributes here";
  }
  Metadata metadata;
  metadata.uid = ::geteuid();
  metadata.gid = ::getegid();
  metadata.mode = S_IFREG | 0640;
  metadata.xattrs = {{"user.own", "1"}};
  EXPECT_EQ(set_metadata(fd.get(), metadata).problem, "");
  EXPECT_EQ(::flistxattr(fd.get(), nullptr, 0), static_cast<ssize_t>(sizeof "user.own"));
}

TEST(SetMetadata, TellsWhenItCannotListWhatIsThere) {
  EXPECT_THAT(set_metadata(-1, {}).problem, HasSubstr("listxattr: "));
}

TEST(SetMetadataAt, LeavesWhatIsNotWhatWasMade) {
  const os::TemporaryFolder folder;
  const os::UniqueFd in = os::open_file(folder.path(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  put(folder.path() / "file", "");
  fs::permissions(folder.path() / "file", fs::perms(0640));
  ASSERT_EQ(::mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  fs::create_symlink("file", folder.path() / "link");
  Metadata metadata;
  metadata.uid = ::geteuid();
  metadata.gid = ::getegid();
  metadata.mode = S_IFIFO | 0666;
  for (const char* name : {"file", "link", "absent"})
    EXPECT_NE(set_metadata_at(in.get(), name, metadata).problem, "") << name;
  EXPECT_EQ(set_metadata_at(in.get(), "pipe", metadata).problem, "");
  EXPECT_EQ(stat_of(folder.path() / "pipe").st_mode & 07777, 0666U);
  ASSERT_EQ(::link((folder.path() / "pipe").c_str(), (folder.path() / "second").c_str()), 0);
  EXPECT_NE(set_metadata_at(in.get(), "second", metadata).problem, "");
  EXPECT_EQ(stat_of(folder.path() / "file").st_mode & 07777, 0640U);
}

}  // namespace
}  // namespace respaldo::restore
