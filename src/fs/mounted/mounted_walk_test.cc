#include "fs/mounted/mounted_walk.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <filesystem>

#include "base/error.h"
#include "fs/mounted/file_places.h"
#include "fs/mounted/mounted_folder.h"

namespace respaldo::fs {
namespace {

namespace stdfs = std::filesystem;
using ::testing::ElementsAre;

// Any folder is a mounted tree, as far as the walk can tell.
class MountedWalkTest : public ::testing::Test {
 protected:
  os::UniqueFd root() const { return os::open_file(folder_.path(), O_RDONLY | O_DIRECTORY); }
  void put(const std::string& name, std::string_view contents) const {
    const os::UniqueFd fd = os::open_file(folder_.path() / name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    os::write_all(fd.get(), as_bytes(contents), name);
  }
  MountedWalk walk() const {
    const os::UniqueFd fd = root();
    const MountKind kind{.type = "any"};
    return walk_mounted(fd.get(), {.kind = kind, .device_size = 1U << 30});
  }
  static std::vector<std::string> names(const MountedTable& table, NodeIndex folder) {
    std::vector<std::string> result;
    const MountedNode& node = table.nodes.at(folder);
    for (std::uint32_t i = 0; i < node.entry_count; ++i)
      result.emplace_back(table.name_of(table.entries[node.first_entry + i]));
    return result;
  }
  static NodeIndex find(const MountedTable& table, std::string_view path) {
    for (NodeIndex i = 0; i < table.nodes.size(); ++i)
      if (table.path(i) == path) return i;
    return kNoNode;
  }
  os::TemporaryFolder folder_;
};

TEST_F(MountedWalkTest, names_are_bytes_in_order_and_links_are_one_node) {
  put("b", "1");
  put("a", "22");
  put("\xff odd\n", "");
  stdfs::create_directories(folder_.path() / "sub/deeper");
  stdfs::create_hard_link(folder_.path() / "a", folder_.path() / "sub/deeper/hard");
  stdfs::create_symlink("no/where", folder_.path() / "link");
  ASSERT_EQ(::mkfifo((folder_.path() / "fifo").c_str(), 0620), 0);
  const MountedWalk found = walk();
  EXPECT_EQ(found.finding_count, 0U);
  EXPECT_THAT(names(found.table, 0), ElementsAre("a", "b", "fifo", "link", "sub", "\xff odd\n"));
  const NodeIndex deeper = find(found.table, "/sub/deeper");
  ASSERT_NE(deeper, kNoNode);
  EXPECT_THAT(names(found.table, deeper), ElementsAre("hard"));
  const MountedNode& node =
      found.table.nodes[found.table.entries[found.table.nodes[deeper].first_entry].node];
  EXPECT_EQ(node.links, 2U);
  EXPECT_EQ(node.size, 2U);
  EXPECT_EQ(found.table.nodes.size(), 8U);  // the hard link has none of its own
  const MountedNode& link = found.table.nodes[find(found.table, "/link")];
  EXPECT_EQ(found.table.bytes.substr(link.target, link.target_length), "no/where");
}

TEST_F(MountedWalkTest, nothing_is_followed_out_of_the_tree) {
  os::TemporaryFolder outside;
  stdfs::create_symlink(outside.path(), folder_.path() / "out");
  const os::UniqueFd fd = root();
  EXPECT_THROW(open_below(fd.get(), "/out", O_RDONLY), Error);
  EXPECT_THROW(open_below(fd.get(), "/out/x", O_RDONLY), Error);
  EXPECT_THROW(open_below(fd.get(), "/../etc", O_RDONLY), Error);
  EXPECT_EQ(walk().table.nodes.size(), 2U);
}

TEST_F(MountedWalkTest, paths_longer_than_the_kernel_takes_are_opened) {
  std::string path;
  os::UniqueFd at = root();
  for (int i = 0; i < 40; ++i) {
    const std::string name(200, static_cast<char>('a' + i % 26));
    ASSERT_EQ(::mkdirat(at.get(), name.c_str(), 0700), 0);
    at = os::UniqueFd(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY));
    path += "/" + name;
  }
  const MountedWalk found = walk();
  EXPECT_EQ(found.finding_count, 0U);
  EXPECT_EQ(found.table.nodes.size(), 41U);
  EXPECT_EQ(found.table.path(40), path);
}

TEST_F(MountedWalkTest, attributes_come_along_and_equal_sets_are_kept_once) {
  put("a", "");
  put("b", "");
  put("c", "");
  for (const char* name : {"a", "b"})
    if (::setxattr((folder_.path() / name).c_str(), "user.x", "value", 5, 0) != 0)
      GTEST_SKIP() << "no attributes here";
  const MountedWalk found = walk();
  const MountedTable& table = found.table;
  const MountedNode& a = table.nodes[find(table, "/a")];
  EXPECT_EQ(a.xattrs, table.nodes[find(table, "/b")].xattrs);
  EXPECT_EQ(table.nodes[find(table, "/c")].xattrs, kNoNode);
  EXPECT_THAT(table.xattrs.at(a.xattrs), ElementsAre(FileXattr{"user.x", "value"}));
}

TEST_F(MountedWalkTest, data_and_holes_tile_what_is_read) {
  const os::UniqueFd fd = os::open_file(folder_.path() / "sparse", O_RDWR | O_CREAT, 0600);
  const std::string data(8192, 'x');
  os::write_all_at(fd.get(), 1U << 20, as_bytes(data), "sparse");
  ASSERT_EQ(::ftruncate(fd.get(), 3U << 20), 0);
  std::uint64_t last = 0;
  bool holds = false;
  for (const FileExtent& extent : file_places(fd.get(), 3U << 20, Places::unknown, 4096, 1U << 30)) {
    EXPECT_EQ(extent.physical, kNoPlace);
    EXPECT_GE(extent.logical, last);
    last = extent.logical + extent.length;
    holds |= extent.logical <= 1U << 20 && last >= (1U << 20) + 8192;
  }
  EXPECT_LE(last, 3U << 20);
  EXPECT_TRUE(holds);
  EXPECT_TRUE(file_places(fd.get(), 0, Places::fiemap, 4096, 1U << 30).empty());
}

}  // namespace
}  // namespace respaldo::fs
