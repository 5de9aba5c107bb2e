// Restores into what an earlier one left, or somebody changed.
#include <fcntl.h>
#include <sys/mount.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "os/file.h"
#include "restore/file_restore.h"
#include "restore/files_test.h"
#include "testing/memory_repository.h"
#include "testing/small_filesystem.h"
#include "testing/temp.h"

namespace respaldo::restore {
namespace {

namespace fs = std::filesystem;
using namespace respaldo::testing;
using ::testing::ElementsAre;

class RestoreAgain : public ::testing::Test {
 protected:
  RestoreAgain() : repository_(memory_repository()) { backup_.emplace(*repository_, small_packs()); }

  fs::path target() const { return folder_.path() / "target"; }
  static repo::Node of_user(repo::Node node) {
    node.mtime = node.atime = {1'600'000'000, 123'456'789, 0};
    node.uid = ::geteuid();
    node.gid = ::getegid();
    return node;
  }
  repo::Node file(std::string name, std::string_view text) {
    return of_user(backup_->file(std::move(name), as_bytes(text)));
  }
  // One of three names of an inode.
  static repo::Node linked(repo::Node node, std::uint64_t inode = 5) {
    node.inode = inode;
    node.device_id = 6;
    node.links = 3;
    return node;
  }
  repo::Node folder(std::string name, std::vector<repo::Node> nodes) {
    return of_user(folder_node(std::move(name), backup_->tree(std::move(nodes))));
  }
  void save(std::vector<repo::Node> nodes) {
    root_ = backup_->tree(std::move(nodes));
    backup_->save(root_);
    repo_ = indexed(*repository_);
  }
  FileRestoreResult restore(Overwrite overwrite = Overwrite::always) {
    repo::Node root;
    root.type = repo::NodeType::dir;
    root.subtree = root_;
    FileRestoreOptions options;
    options.overwrite = overwrite;
    options.threads = 2;
    return restore_files(*repo_, root, target().native(), options, silent_, {});
  }
  // Three names in three folders, and a file beside each.
  void save_three() {
    save({folder("a", {linked(file("name", "linked"))}), folder("b", {linked(file("name", "linked")), file("other", "x")}),
          folder("c", {linked(file("name", "linked"))})});
    EXPECT_EQ(restore().problem_count, 0U);
    EXPECT_TRUE(are_one());
  }
  bool are_one() const {
    const auto first = stat_of(target() / "a/name"), second = stat_of(target() / "b/name"), third = stat_of(target() / "c/name");
    return first.st_ino == second.st_ino && second.st_ino == third.st_ino && first.st_nlink == 3;
  }
  // As a restore that replaces everything leaves it when it is killed after this name.
  void split(const char* name) const {
    const struct stat st = stat_of(target() / name);
    const std::string text = text_of(target() / name);
    fs::remove(target() / name);
    put(target() / name, text);
    fs::permissions(target() / name, fs::perms(st.st_mode & 07777));
    const timespec times[2] = {st.st_atim, st.st_mtim};
    EXPECT_EQ(::utimensat(AT_FDCWD, (target() / name).c_str(), times, 0), 0);
  }

  os::TemporaryFolder folder_;
  SilentProgress silent_;
  std::unique_ptr<repo::Repository> repository_;
  std::optional<HandMadeBackup> backup_;
  std::shared_ptr<const repo::IndexedRepository> repo_;
  repo::BlobId root_;
};

TEST_F(RestoreAgain, if_changed_joins_the_names_that_a_killed_restore_split) {
  save_three();
  for (const char* name : {"a/name", "b/name", "c/name"}) {
    split(name);
    ASSERT_FALSE(are_one());
    const auto result = restore(Overwrite::if_changed);
    EXPECT_TRUE(are_one()) << name;
    EXPECT_EQ(result.problem_count, 0U);
    EXPECT_EQ(result.bytes_written, 0U);
    EXPECT_EQ(text_of(target() / name), "linked");
  }
  EXPECT_EQ(restore(Overwrite::if_changed).kept, 4U);
}

TEST_F(RestoreAgain, a_missing_name_becomes_a_link_to_one_that_stands) {
  save_three();
  for (const Overwrite overwrite : {Overwrite::if_changed, Overwrite::never}) {
    for (const char* name : {"a/name", "b/name", "c/name"}) {
      fs::remove(target() / name);
      const auto result = restore(overwrite);
      EXPECT_TRUE(are_one()) << name;
      EXPECT_EQ(result.bytes_written, 0U);
      EXPECT_EQ(result.files, 1U);
      EXPECT_EQ(result.kept_different, 0U);
    }
  }
  // The folder gets its times after what comes last.
  fs::remove(target() / "a/name");
  restore(Overwrite::if_changed);
  EXPECT_EQ(stat_of(target() / "a").st_mtim.tv_sec, 1'600'000'000);
}

TEST_F(RestoreAgain, two_missing_names_are_one_again) {
  save_three();
  for (const Overwrite overwrite : {Overwrite::if_changed, Overwrite::never}) {
    fs::remove(target() / "a/name");
    fs::remove(target() / "b/name");
    fs::remove(target() / "c/name");
    EXPECT_EQ(restore(overwrite).files, 3U);
    EXPECT_TRUE(are_one());
  }
}

TEST_F(RestoreAgain, a_changed_name_becomes_a_link_to_one_that_is_the_same) {
  save_three();
  fs::remove(target() / "a/name");
  put(target() / "a/name", "changed by somebody");
  EXPECT_EQ(restore(Overwrite::if_changed).bytes_written, 0U);
  EXPECT_TRUE(are_one());
  put(target() / "b/name", "all three changed");
  restore(Overwrite::if_changed);
  EXPECT_TRUE(are_one());
  EXPECT_EQ(text_of(target() / "c/name"), "linked");
}

TEST_F(RestoreAgain, never_replaces_no_name_and_says_which_are_split) {
  save_three();
  split("b/name");
  const ino_t inode = stat_of(target() / "b/name").st_ino;
  const auto result = restore(Overwrite::never);
  EXPECT_EQ(stat_of(target() / "b/name").st_ino, inode);
  EXPECT_EQ(stat_of(target() / "a/name").st_ino, stat_of(target() / "c/name").st_ino);
  EXPECT_THAT(result.kept_different_named, ElementsAre("b/name"));
}

TEST_F(RestoreAgain, what_claims_the_same_inode_with_other_content_stays_apart) {
  save({linked(file("a", "one")), linked(file("b", "one")), linked(file("c", "two"))});
  restore();
  for (const Overwrite overwrite : {Overwrite::if_changed, Overwrite::never}) {
    EXPECT_EQ(restore(overwrite).kept, 3U);
    EXPECT_EQ(text_of(target() / "c"), "two");
    EXPECT_EQ(stat_of(target() / "a").st_nlink, 2U);
  }
}

TEST_F(RestoreAgain, pipes_and_sockets_keep_their_further_names) {
  std::vector<repo::Node> nodes;
  for (const auto& [name, type, mode] : {std::tuple("p1", repo::NodeType::fifo, S_IFIFO), {"p2", repo::NodeType::fifo, S_IFIFO},
                                         {"p3", repo::NodeType::fifo, S_IFIFO}, {"s1", repo::NodeType::socket, S_IFSOCK},
                                         {"s2", repo::NodeType::socket, S_IFSOCK}, {"s3", repo::NodeType::socket, S_IFSOCK}}) {
    repo::Node node = linked(of_user({}), type == repo::NodeType::fifo ? 9 : 10);
    node.name = name;
    node.type = type;
    node.mode = static_cast<std::uint32_t>(mode) | 0640;
    nodes.push_back(node);
  }
  save(nodes);
  for (const Overwrite overwrite : {Overwrite::always, Overwrite::if_changed, Overwrite::never}) {
    EXPECT_EQ(restore(overwrite).problem_count, 0U);
    EXPECT_EQ(stat_of(target() / "p1").st_nlink, 3U);
    EXPECT_EQ(stat_of(target() / "s3").st_nlink, 3U);
    EXPECT_EQ(stat_of(target() / "s1").st_ino, stat_of(target() / "s2").st_ino);
  }
}

TEST_F(RestoreAgain, symbolic_links_keep_their_further_names) {
  repo::Node link = linked(of_user({}), 9);
  link.type = repo::NodeType::symlink;
  link.mode = S_IFLNK | 0777;
  link.link_target = "somewhere";
  std::vector<repo::Node> nodes;
  for (const char* name : {"a", "b", "c"}) {
    link.name = name;
    nodes.push_back(link);
  }
  save(nodes);
  restore();
  for (const char* name : {"a", "c"}) {
    fs::remove(target() / name);
    restore(Overwrite::never);
    EXPECT_EQ(stat_of(target() / "b").st_nlink, 3U) << name;
  }
  // One that leads elsewhere is none of them.
  for (const char* name : {"a", "b"}) fs::remove(target() / name);
  fs::create_symlink("elsewhere", target() / "b");
  restore(Overwrite::never);
  EXPECT_EQ(fs::read_symlink(target() / "b"), "elsewhere");
  EXPECT_EQ(stat_of(target() / "a").st_ino, stat_of(target() / "c").st_ino);
}

TEST_F(RestoreAgain, what_stays_gets_its_mode_and_owner) {
  repo::Node suid = file("suid", "x");
  suid.mode = S_IFREG | 04755;
  suid.xattrs = {{"user.one", "1"}};
  save({file("group", "x"), file("mode", "x"), suid});
  restore();
  const auto mode = stat_of(target() / "mode").st_mode;
  fs::permissions(target() / "mode", fs::perms(0));
  fs::permissions(target() / "suid", fs::perms(0600));
  if (::geteuid() == 0) {
    EXPECT_EQ(::lchown((target() / "group").c_str(), static_cast<uid_t>(-1), 4711), 0);
  }
  EXPECT_THAT(restore(Overwrite::never).kept_different_named, ::testing::IsSupersetOf({"mode", "suid"}));
  EXPECT_EQ(stat_of(target() / "mode").st_mode & 07777, 0U);
  const auto result = restore(Overwrite::if_changed);
  EXPECT_EQ(result.problem_count, 0U);
  EXPECT_EQ(result.kept_different, 0U);
  EXPECT_EQ(result.kept, 3U);
  EXPECT_EQ(result.bytes_written, 0U);
  EXPECT_EQ(stat_of(target() / "mode").st_mode, mode);
  EXPECT_EQ(stat_of(target() / "suid").st_mode & 07777, 04755U);
  EXPECT_EQ(stat_of(target() / "suid").st_mtim.tv_nsec, 123'456'789);
  EXPECT_EQ(stat_of(target() / "group").st_gid, ::getegid());
  EXPECT_EQ(restore(Overwrite::if_changed).kept, 3U);
}

TEST_F(RestoreAgain, what_stays_and_has_names_elsewhere_is_told_only) {
  save({file("x", "x")});
  restore();
  fs::create_hard_link(target() / "x", folder_.path() / "outside");
  fs::permissions(target() / "x", fs::perms(0642));
  EXPECT_THAT(restore(Overwrite::if_changed).kept_different_named, ElementsAre("x"));
  EXPECT_EQ(stat_of(folder_.path() / "outside").st_mode & 07777, 0642U);
}

TEST_F(RestoreAgain, nobody_gets_rights_through_a_file_that_looks_like_the_stored_one) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  constexpr uid_t kOther = 4711;
  repo::Node owned = file("of root", "x"), suid = file("suid", "x"), harmless = file("harmless", "x"), set_group = file("set group", "x");
  suid.mode = S_IFREG | 04755;
  harmless.uid = set_group.uid = kOther;
  harmless.mode = S_IFREG | 0644;
  set_group.mode = S_IFREG | 02755;
  save({harmless, owned, set_group, suid});
  restore();
  for (const char* name : {"harmless", "of root", "set group", "suid"}) {
    EXPECT_EQ(::lchown((target() / name).c_str(), kOther, kOther), 0);
    fs::permissions(target() / name, fs::perms(0600));
  }
  EXPECT_THAT(restore(Overwrite::if_changed).kept_different_named, ElementsAre("of root", "set group", "suid"));
  EXPECT_EQ(stat_of(target() / "harmless").st_mode & 07777, 0644U);
  for (const char* name : {"of root", "set group", "suid"}) {
    EXPECT_EQ(stat_of(target() / name).st_uid, kOther);
    EXPECT_EQ(stat_of(target() / name).st_mode & 07777, 0600U);
  }
  EXPECT_EQ(restore().problem_count, 0U);
  EXPECT_EQ(stat_of(target() / "suid").st_mode & 07777, 04755U);
}

bool holds_names_while_made(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().filename().native().starts_with(".respaldo-")) return true;
  return false;
}

TEST_F(RestoreAgain, without_room_the_folders_are_finished_and_the_rest_comes_later) {
  const std::string big(as_text(random_bytes(4U << 20, 7)));
  repo::Node open = folder("b", {file("big", big), linked(file("l1", big)), linked(file("l2", big))});
  open.mode = S_IFDIR | 0751;
  save({folder("a", {file("small", "s")}), open, folder("c", {folder("d", {file("small", "s")})})});
  const auto body = [&] {
    auto result = restore();
    ASSERT_TRUE(result.no_space);
    EXPECT_THAT(result.no_space->path, ::testing::StartsWith("b/"));
    EXPECT_EQ(result.problem_count, 1U);
    EXPECT_EQ(result.problems.at(0).path, result.no_space->path);
    EXPECT_EQ(result.folders, 4U);
    EXPECT_EQ(stat_of(target() / "b").st_mode & 07777, 0751U);
    for (const char* name : {"a", "b", "c", "c/d"}) EXPECT_EQ(stat_of(target() / name).st_mtim.tv_sec, 1'600'000'000) << name;
    EXPECT_FALSE(holds_names_while_made(target()));

    ASSERT_EQ(::mount("tmpfs", target().c_str(), "tmpfs", MS_REMOUNT, "size=32m"), 0);
    result = restore(Overwrite::if_changed);
    EXPECT_FALSE(result.no_space);
    EXPECT_EQ(result.problem_count, 0U);
    EXPECT_EQ(text_of(target() / "b/big"), big);
    EXPECT_EQ(stat_of(target() / "b/l1").st_ino, stat_of(target() / "b/l2").st_ino);
    EXPECT_EQ(text_of(target() / "c/d/small"), "s");
  };
  if (!on_small_filesystem(target(), "size=1m", body)) GTEST_SKIP() << "needs to mount";
}

TEST_F(RestoreAgain, without_room_for_a_folder_the_walk_ends_there) {
  repo::Node first = folder("a", {file("x", "x")});
  first.mode = S_IFDIR | 0751;
  save({first, folder("b", {folder("c", {folder("d", {folder("e", {})})})})});
  const auto body = [&] {
    const auto result = restore();
    ASSERT_TRUE(result.no_space);
    EXPECT_EQ(result.no_space->path, "b/c/d");
    EXPECT_EQ(result.folders, 3U);
    EXPECT_EQ(stat_of(target() / "a").st_mode & 07777, 0751U);
  };
  if (!on_small_filesystem(target(), "nr_inodes=4", body)) GTEST_SKIP() << "needs to mount";
}

}  // namespace
}  // namespace respaldo::restore
