// Trees of somebody who means harm, and targets in which traps were laid: what lies beside the target stays
// as it is.
#include "restore/file_restore.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "os/file.h"
#include "restore/files_test.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "view/zero_blob.h"

namespace respaldo::restore {
namespace {

namespace fs = std::filesystem;
using namespace respaldo::testing;
using ::testing::HasSubstr;

repo::Node with_times(repo::Node node) {
  node.mtime = {1'600'000'000, 123'456'789, 0};
  node.atime = {1'500'000'000, 987'654'321, 0};
  node.uid = ::geteuid();
  node.gid = ::getegid();
  return node;
}

repo::Node symlink_node(std::string name, std::string target) {
  repo::Node node;
  node.name = std::move(name);
  node.type = repo::NodeType::symlink;
  node.mode = S_IFLNK | 0777;
  node.link_target = std::move(target);
  node.links = 1;
  return with_times(node);
}

repo::Node special_node(std::string name, repo::NodeType type, std::uint32_t mode, std::uint64_t device = 0) {
  repo::Node node;
  node.name = std::move(name);
  node.type = type;
  node.mode = mode;
  node.device = device;
  node.links = 1;
  return with_times(node);
}

class FileRestore : public ::testing::Test {
 protected:
  FileRestore() : repository_(memory_repository()) {
    fs::create_directory(outside());
    put(outside() / "sentinel", "untouched");
    fs::permissions(outside() / "sentinel", fs::perms(0640));
    backup_.emplace(*repository_, small_packs());
  }
  ~FileRestore() override {
    // Nothing beside the target was changed, whatever the test did.
    EXPECT_EQ(text_of(outside() / "sentinel"), "untouched");
    EXPECT_EQ(stat_of(outside() / "sentinel").st_mode & 07777, 0640U);
    EXPECT_EQ(entries(outside()), std::vector<std::string>{"sentinel"});
    const std::vector<std::string> all = entries(folder_.path());
    for (const std::string& name : all) EXPECT_TRUE(name == "outside" || name == "target") << name;
  }

  fs::path outside() const { return folder_.path() / "outside"; }
  fs::path target() const { return folder_.path() / "target"; }
  static std::vector<std::string> entries(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder))
      names.push_back(entry.path().filename().native());
    std::ranges::sort(names);
    return names;
  }

  // One level after another: to remove all at once takes a descriptor for each.
  void remove_deep() const {
    for (int i = 0;; ++i) {
      fs::path next;
      for (const auto& entry : fs::directory_iterator(target()))
        if (entry.is_directory()) next = entry.path();
      if (next.empty()) return;
      for (const std::string& name : entries(next))
        if (fs::is_directory(next / name)) fs::rename(next / name, target() / std::to_string(i));
      fs::remove_all(next);
    }
  }
  repo::Node file(std::string name, std::string_view text) {
    return with_times(backup_->file(std::move(name), as_bytes(text)));
  }
  repo::Node folder(std::string name, std::vector<repo::Node> nodes) {
    return with_times(folder_node(std::move(name), backup_->tree(std::move(nodes))));
  }
  void save(repo::BlobId root) {
    root_ = root;
    backup_->save(root);
    repo_ = indexed(*repository_);
  }
  void save(std::vector<repo::Node> nodes) { save(backup_->tree(std::move(nodes))); }
  // A tree whose nodes are as given, in this order, with names that repeat.
  repo::BlobId tree_as_is(const std::vector<repo::Node>& nodes) {
    std::string json = "{\"nodes\":[";
    for (const repo::Node& node : nodes) {
      const std::string one = repo::to_json(repo::Tree{{node}});
      const std::size_t begin = one.find('[') + 1, end = one.rfind(']');
      json += (json.back() == '[' ? "" : ",") + one.substr(begin, end - begin);
    }
    return backup_->raw_tree(json + "]}\n");
  }
  FileRestoreResult restore(FileRestoreOptions options = {}, std::stop_token stop = {}) {
    repo::Node root;
    root.type = repo::NodeType::dir;
    root.subtree = root_;
    options.threads = 3;
    return restore_files(*repo_, root, target().native(), options, silent_, std::move(stop));
  }
  FileRestoreResult restore_with(Overwrite overwrite) {
    FileRestoreOptions options;
    options.overwrite = overwrite;
    return restore(options);
  }
  FileRestoreResult restore_paths(std::vector<std::string> paths) {
    FileRestoreOptions options;
    options.paths = std::move(paths);
    return restore(options);
  }
  static std::vector<std::string> paths_of(const FileRestoreResult& result) {
    std::vector<std::string> paths;
    for (const FileProblem& problem : result.problems) paths.push_back(problem.path);
    std::ranges::sort(paths);
    return paths;
  }

  os::TemporaryFolder folder_;
  SilentProgress silent_;
  std::unique_ptr<repo::Repository> repository_;
  std::optional<HandMadeBackup> backup_;
  std::shared_ptr<const repo::IndexedRepository> repo_;
  repo::BlobId root_;
};

TEST_F(FileRestore, BringsBackEveryKindWithItsMetadata) {
  repo::Node plain = file("plain", "hello");
  plain.mode = S_IFREG | 04751;
  plain.xattrs = {{"user.one", "1"}, {"user.bytes", std::string("\0\xff", 2)}};
  repo::Node folder_with = folder("folder", {file("inside", "x")});
  folder_with.mode = S_IFDIR | 02750;
  folder_with.xattrs = {{"user.two", "2"}};
  save({plain, folder_with, symlink_node("link", std::string("to \xff nowhere")),
        special_node("pipe", repo::NodeType::fifo, S_IFIFO | 0622),
        special_node("socket", repo::NodeType::socket, S_IFSOCK | 0711), file("empty", "")});
  const auto result = restore();
  EXPECT_EQ(result.problem_count, 0U);
  EXPECT_EQ(result.files, 3U);
  EXPECT_EQ(result.folders, 1U);
  EXPECT_EQ(result.others, 3U);
  EXPECT_EQ(stat_of(target() / "plain").st_mode, static_cast<mode_t>(S_IFREG | 04751));
  EXPECT_EQ(stat_of(target() / "folder").st_mode, static_cast<mode_t>(S_IFDIR | 02750));
  EXPECT_EQ(stat_of(target() / "pipe").st_mode, static_cast<mode_t>(S_IFIFO | 0622));
  EXPECT_EQ(stat_of(target() / "socket").st_mode, static_cast<mode_t>(S_IFSOCK | 0711));
  for (const char* name : {"plain", "folder", "pipe", "socket", "link", "empty", "folder/inside"}) {
    const struct stat st = stat_of(target() / name);
    EXPECT_EQ(st.st_mtim.tv_sec, 1'600'000'000) << name;
    EXPECT_EQ(st.st_mtim.tv_nsec, 123'456'789) << name;
    EXPECT_EQ(st.st_atim.tv_nsec, 987'654'321) << name;
  }
  EXPECT_EQ(text_of(target() / "plain"), "hello");  // reading changes access times
  EXPECT_EQ(fs::read_symlink(target() / "link").native(), "to \xff nowhere");
  char value[8];
  EXPECT_EQ(::getxattr((target() / "plain").c_str(), "user.bytes", value, sizeof value), 2);
  EXPECT_EQ(::getxattr((target() / "folder").c_str(), "user.two", value, sizeof value), 1);
}

TEST_F(FileRestore, NamesThatLeadElsewhereAreProblems) {
  const std::string names[] = {
      "..", ".", "", "a/b", "../outside/sentinel", "/outside", std::string("nul\0x", 5), "../outside"};
  std::vector<repo::Node> nodes{file("good", "good")};
  for (const std::string& name : names) nodes.push_back(file(name, "evil"));
  std::vector<repo::Node> folders{folder("..", {file("evil", "evil")}),
                                  folder("../outside", {file("sentinel", "evil")}),
                                  symlink_node("../outside/link", "x"),
                                  special_node("../outside/pipe", repo::NodeType::fifo, S_IFIFO | 0666)};
  nodes.push_back(folder("sub", std::move(folders)));
  save(std::move(nodes));
  const auto result = restore();
  EXPECT_EQ(result.problem_count, 12U);
  EXPECT_EQ(entries(target()), (std::vector<std::string>{"good", "sub"}));
  EXPECT_TRUE(entries(target() / "sub").empty());
  EXPECT_THROW(restore_paths({"sub/../../outside"}), Error);
  EXPECT_THROW(restore_paths({".."}), Error);
}

TEST_F(FileRestore, AFolderAfterASymbolicLinkOfItsNameIsNotEntered) {
  const repo::Node link = symlink_node("a", outside().native());
  const repo::Node tree = folder("a", {file("sentinel", "evil"), file("new", "evil")});
  save(tree_as_is({link, file("b", "b"), tree}));
  EXPECT_EQ(paths_of(restore()), std::vector<std::string>{"a"});
  EXPECT_TRUE(fs::is_symlink(target() / "a"));
  EXPECT_EQ(text_of(target() / "b"), "b");
}

TEST_F(FileRestore, ASymbolicLinkAfterAFolderOfItsNameIsNotMade) {
  const repo::Node tree = folder("a", {file("x", "x")});
  save(tree_as_is({file("z", "z"), tree, file("b", "b"), symlink_node("a", outside().native()),
                   file("z", "other"), file("c", "c")}));
  EXPECT_EQ(paths_of(restore()), (std::vector<std::string>{"a", "z"}));
  EXPECT_EQ(text_of(target() / "a/x"), "x");
  EXPECT_EQ(text_of(target() / "z"), "z");
  EXPECT_EQ(text_of(target() / "c"), "c");
}

TEST_F(FileRestore, PlantedLinksAreReplacedNotFollowed) {
  save({folder("dir", {file("sentinel", "new"), file("x", "x")}), file("file", "file"), file("hard", "hard"),
        special_node("pipe", repo::NodeType::fifo, S_IFIFO | 0644), symlink_node("link", "elsewhere")});
  fs::create_directory(target());
  for (const char* name : {"dir", "pipe", "link"}) fs::create_directory_symlink(outside(), target() / name);
  fs::create_symlink(outside() / "sentinel", target() / "file");
  fs::create_hard_link(outside() / "sentinel", target() / "hard");
  const auto result = restore();
  EXPECT_EQ(result.problem_count, 0U);
  EXPECT_EQ(text_of(target() / "dir/sentinel"), "new");
  EXPECT_FALSE(fs::is_symlink(target() / "dir"));
  EXPECT_EQ(text_of(target() / "file"), "file");
  EXPECT_EQ(text_of(target() / "hard"), "hard");
  EXPECT_TRUE(fs::is_fifo(target() / "pipe"));
  EXPECT_EQ(fs::read_symlink(target() / "link"), "elsewhere");
  EXPECT_EQ(entries(target()), (std::vector<std::string>{"dir", "file", "hard", "link", "pipe"}));
}

TEST_F(FileRestore, NeverLeavesPlantedLinksAndDoesNotEnterThem) {
  save({folder("dir", {file("sentinel", "new")}), file("file", "file")});
  fs::create_directory(target());
  fs::create_directory_symlink(outside(), target() / "dir");
  fs::create_symlink(outside() / "sentinel", target() / "file");
  const auto result = restore_with(Overwrite::never);
  EXPECT_EQ(paths_of(result), std::vector<std::string>{"dir"});
  EXPECT_TRUE(fs::is_symlink(target() / "file"));
}

TEST_F(FileRestore, OverwritesAsAsked) {
  save({file("same", "same"), file("other", "new text"), file("absent", "absent"),
        folder("dir", {file("in", "in")}), file("was a folder", "x"), file("full folder", "x")});
  const auto lay_out = [&] {
    fs::remove_all(target());
    fs::create_directories(target() / "dir");
    fs::create_directory(target() / "was a folder");
    fs::create_directories(target() / "full folder/with this");
    put(target() / "same", "SAME");
    put(target() / "other", "OLD TEXT");
    put(target() / "not in the backup", "stays");
    const timespec times[2] = {{1, 0}, {1'600'000'000, 123'456'789}};
    EXPECT_EQ(::utimensat(AT_FDCWD, (target() / "same").c_str(), times, 0), 0);
  };
  lay_out();
  auto result = restore_with(Overwrite::always);
  EXPECT_EQ(paths_of(result), std::vector<std::string>{"full folder"});
  EXPECT_TRUE(fs::is_directory(target() / "full folder/with this"));
  EXPECT_EQ(text_of(target() / "same"), "same");
  EXPECT_EQ(text_of(target() / "other"), "new text");
  EXPECT_EQ(text_of(target() / "was a folder"), "x");
  EXPECT_EQ(entries(target()).size(), 7U);  // and no temporary name

  lay_out();
  result = restore_with(Overwrite::if_changed);
  EXPECT_EQ(result.kept, 1U);
  EXPECT_EQ(text_of(target() / "same"), "SAME");
  EXPECT_EQ(text_of(target() / "other"), "new text");

  lay_out();
  result = restore_with(Overwrite::never);
  EXPECT_EQ(result.problem_count, 0U);
  EXPECT_EQ(result.kept, 5U);
  EXPECT_EQ(text_of(target() / "other"), "OLD TEXT");
  EXPECT_EQ(text_of(target() / "absent"), "absent");
  EXPECT_EQ(text_of(target() / "dir/in"), "in");
  EXPECT_TRUE(fs::is_directory(target() / "was a folder"));
}

TEST_F(FileRestore, DeeperThanAnyPathMayBe) {
  std::vector<repo::Node> nodes{file("bottom", "bottom")};
  for (int level = 0; level < 60; ++level) {
    std::vector<repo::Node> next{
        folder(std::string(200, static_cast<char>('a' + level % 26)), std::move(nodes))};
    nodes = std::move(next);
  }
  save(std::move(nodes));
  const auto result = restore();
  EXPECT_EQ(result.problem_count, 0U);
  EXPECT_EQ(result.folders, 60U);
  EXPECT_EQ(restore_with(Overwrite::if_changed).kept, 1U);
  // Nothing here removes such a tree at one go by its name.
  fs::path here = target();
  for (int i = 0; i < 15; ++i) here /= std::string(200, static_cast<char>('a' + (59 - i) % 26));
  std::error_code failed;
  EXPECT_TRUE(fs::exists(here, failed));
}

// Paths of half a megabyte each would take half a gigabyte.
TEST_F(FileRestore, ThousandsOfFoldersInOneAnotherTakeLittleMemory) {
  std::vector<repo::Node> nodes{file("bottom", "bottom"), symlink_node("no target", "")};
  for (int level = 0; level < 2000; ++level) {
    std::vector<repo::Node> next{folder(std::string(250, static_cast<char>('a' + level % 26)), std::move(nodes)),
                                 file("file", "x")};
    nodes = std::move(next);
  }
  save(std::move(nodes));
  rusage before{}, after{};
  ::getrusage(RUSAGE_SELF, &before);
  auto result = restore();
  ::getrusage(RUSAGE_SELF, &after);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they keep what was freed
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 100 << 10) << "KiB";
#endif
  EXPECT_EQ(result.folders, 2000U);
  EXPECT_EQ(result.files, 2001U);
  ASSERT_EQ(result.problem_count, 1U);
  EXPECT_LT(result.problems[0].path.size(), 500U);
  EXPECT_THAT(result.problems[0].path, ::testing::EndsWith("/no target"));
  result = restore_with(Overwrite::if_changed);
  EXPECT_EQ(result.kept, 2001U);
  remove_deep();
}

// ext4 has no limit, and what is saved comes back: `ls` need not go there, a restore must.
TEST_F(FileRestore, FoldersDeeperThanAnybodyLooksComeBack) {
  std::vector<repo::Node> nodes{file("bottom", "bottom")};
  for (int level = 0; level < 6000; ++level) {
    std::vector<repo::Node> next{folder(std::string(200, static_cast<char>('a' + level % 26)), std::move(nodes))};
    nodes = std::move(next);
  }
  save(std::move(nodes));
  const auto result = restore();
  EXPECT_EQ(result.problem_count, 0U);
  EXPECT_EQ(result.folders, 6000U);
  EXPECT_EQ(result.files, 1U);
  EXPECT_EQ(restore_with(Overwrite::if_changed).kept, 1U);
  remove_deep();
}

TEST_F(FileRestore, WhatIsWrongWithOneFileLeavesTheOthers) {
  repo::Node lies = file("longer", "short");
  lies.size = 1'000'000;
  repo::Node shorter = file("shorter", "a long text");
  shorter.size = 3;
  repo::Node nowhere = file("nowhere", "x");
  nowhere.content = {repo::BlobId{}};
  repo::Node odd = file("odd", "odd");
  odd.type = repo::NodeType::fifo;
  odd.links = 1;
  repo::Node target_nul = symlink_node("nul", std::string("a\0b", 3));
  repo::Node no_target = symlink_node("no target", "");
  repo::Node lost = folder_node("lost", repo::BlobId{});
  save({lies, shorter, nowhere, odd, target_nul, no_target, lost, file("good", "good"),
        folder("sub", {file("good", "good")})});
  const auto result = restore();
  EXPECT_EQ(paths_of(result),
            (std::vector<std::string>{"longer", "lost", "no target", "nowhere", "nul", "shorter"}));
  EXPECT_EQ(text_of(target() / "sub/good"), "good");
  EXPECT_EQ(entries(target()), (std::vector<std::string>{"good", "lost", "odd", "sub"}));
}

TEST_F(FileRestore, DamagedBlobsCostTheirFilesOnly) {
  const std::string noise(as_text(random_bytes(300 << 10, 1))), other(as_text(random_bytes(300 << 10, 2)));
  repo::Node linked = file("a broken", noise);
  linked.inode = 7;
  linked.links = 3;
  repo::Node again = linked;
  again.name = "broken again";
  save({linked, again, file("whole", other), file("z also broken", noise)});
  const auto location = *repo_->index().find(repo::BlobType::data, linked.content[2]);
  flip(*repository_, {store::FileType::pack, location.pack.hex()}, location.offset + 40);
  const auto result = restore();
  EXPECT_EQ(paths_of(result), (std::vector<std::string>{"a broken", "broken again", "z also broken"}));
  EXPECT_EQ(entries(target()), std::vector<std::string>{"whole"});
  EXPECT_EQ(text_of(target() / "whole"), other);
}

TEST_F(FileRestore, HardLinksAreOneFileWhenTheyAre) {
  std::vector<repo::Node> nodes;
  for (const char* name : {"one", "three", "two"}) {
    repo::Node node = file(name, "linked");
    node.inode = 5;
    node.device_id = 6;
    node.links = 3;
    nodes.push_back(node);
  }
  repo::Node liar = file("zz liar", "other content");
  liar.inode = 5;
  liar.device_id = 6;
  liar.links = 3;
  nodes.push_back(liar);
  repo::Node elsewhere = nodes[0];
  elsewhere.name = "elsewhere";
  elsewhere.device_id = 9;
  nodes.push_back(elsewhere);
  repo::Node link = symlink_node("sym", "x");
  link.inode = 12;
  link.links = 2;
  repo::Node link2 = link;
  link2.name = "sym2";
  nodes.push_back(link);
  nodes.push_back(link2);
  save(std::move(nodes));
  for (const Overwrite overwrite : {Overwrite::always, Overwrite::always, Overwrite::if_changed}) {
    const auto result = restore_with(overwrite);
    if (overwrite == Overwrite::always) {
      EXPECT_EQ(paths_of(result), std::vector<std::string>{"zz liar"});
      EXPECT_EQ(result.files, 5U);
    }
    EXPECT_EQ(stat_of(target() / "one").st_nlink, 3U);
    EXPECT_EQ(stat_of(target() / "one").st_ino, stat_of(target() / "two").st_ino);
    EXPECT_EQ(stat_of(target() / "elsewhere").st_nlink, 1U);
    EXPECT_EQ(stat_of(target() / "sym").st_ino, stat_of(target() / "sym2").st_ino);
    EXPECT_EQ(text_of(target() / "zz liar"), "other content");
    EXPECT_EQ(entries(target()).size(), 7U);
  }
}

TEST_F(FileRestore, ZerosBecomeHoles) {
  Bytes bytes = Bytes::zeroed(4U << 20);
  const Bytes noise = random_bytes(10'000, 3);
  std::memcpy(bytes.data() + (1U << 20) + 100, noise.data(), noise.size());
  repo::Node sparse = with_times(backup_->file("sparse", bytes, view::kZeroBlobLength));
  repo::Node zeros = with_times(backup_->file("zeros", Bytes::zeroed(12345)));
  save({sparse, zeros});
  const auto result = restore();
  EXPECT_EQ(result.problem_count, 0U);
  EXPECT_EQ(result.bytes_written + result.bytes_zero, bytes.size() + 12345);
  EXPECT_LE(stat_of(target() / "sparse").st_blocks * 512, 64 << 10);
  EXPECT_EQ(stat_of(target() / "zeros").st_blocks, 0);
  EXPECT_EQ(text_of(target() / "sparse"), as_text(bytes));
  EXPECT_EQ(stat_of(target() / "zeros").st_size, 12345);
}

TEST_F(FileRestore, OnlyWhatIsNamedComesBack) {
  save({folder("a", {file("x", "x"), file("y", "y")}), folder("a-b", {file("x", "x")}),
        folder("c", {folder("d", {file("e", "e")})}), file("f", "f")});
  auto result = restore_paths({"/a//x", "c/"});
  EXPECT_EQ(result.problem_count, 0U);
  EXPECT_EQ(result.files, 2U);
  EXPECT_EQ(entries(target()), (std::vector<std::string>{"a", "c"}));
  EXPECT_EQ(entries(target() / "a"), std::vector<std::string>{"x"});
  EXPECT_EQ(text_of(target() / "c/d/e"), "e");
  // A folder that is only passed, and was there, keeps its metadata.
  fs::permissions(target() / "a", fs::perms(0711));
  result = restore_paths({"a/y", "a/y", "f"});
  EXPECT_EQ(result.files, 2U);
  EXPECT_EQ(stat_of(target() / "a").st_mode & 07777, 0711U);
  EXPECT_THAT([&] { restore_paths({"a/z"}); },
              ::testing::Throws<Error>(::testing::Property(&Error::kind, ErrorKind::not_found)));
  EXPECT_EQ(restore_paths({"a", "a/x", "."}).files, 5U);
}

TEST_F(FileRestore, AttributesThatCannotBeSetAreTold) {
  repo::Node odd = file("odd", "x");
  odd.xattrs = {{"", "x"},
                {"user." + std::string(300, 'n'), "x"},
                {std::string("user.\0x", 7), "x"},
                {"user.good", "x"}};
  repo::Node many = file("many", "x");
  for (int i = 0; i < 40; ++i)
    many.xattrs.push_back({"user.n" + std::to_string(i), std::string(60'000, 'v')});
  repo::Node far = file("far", "x");
  far.mtime = {1LL << 60, 999'999'999, 0};
  save({odd, many, far});
  const auto result = restore();
  EXPECT_THAT(paths_of(result), ::testing::IsSupersetOf({"odd", "many"}));
  char value[8];
  EXPECT_EQ(::getxattr((target() / "odd").c_str(), "user.good", value, sizeof value), 1);
}

TEST_F(FileRestore, DevicesAreForRoot) {
  save({special_node("null", repo::NodeType::chardev, S_IFCHR | 0666, 0x103), file("x", "x")});
  const auto result = restore();
  EXPECT_EQ(result.problem_count, 0U);
  EXPECT_EQ(result.others + result.without_device, 1U);
  if (result.others == 1) {
    EXPECT_EQ(stat_of(target() / "null").st_rdev, 0x103U);
  }
}

TEST_F(FileRestore, AnInterruptedOneLeavesNothingHalf) {
  save({file("big", as_text(random_bytes(6U << 20, 5))), file("old", "new")});
  fs::create_directory(target());
  put(target() / "old", "old");
  std::stop_source stop;
  class Stopper final : public Progress {
   public:
    explicit Stopper(std::stop_source& stop) : stop_(stop) {}
    void begin(std::string_view, std::uint64_t) override {}
    void advance(std::uint64_t) override { stop_.request_stop(); }
    void end() override {}
    void note(std::string_view) override {}

   private:
    std::stop_source& stop_;
  } progress(stop);
  repo::Node root;
  root.type = repo::NodeType::dir;
  root.subtree = root_;
  FileRestoreOptions options;
  options.threads = 1;
  EXPECT_THROW(restore_files(*repo_, root, target().native(), options, progress, stop.get_token()),
               Cancelled);
  EXPECT_EQ(entries(target()), std::vector<std::string>{"old"});
}

// Looks while the first bytes are written: what lies there then is what a kill leaves.
TEST_F(FileRestore, AFileHasItsNameOnlyWhenItIsWhole) {
  save({folder("new", {file("big", as_text(random_bytes(6U << 20, 5)))})});
  class Looker final : public Progress {
   public:
    explicit Looker(fs::path folder) : folder_(std::move(folder)) {}
    void begin(std::string_view, std::uint64_t) override {}
    void advance(std::uint64_t) override {
      if (seen.empty()) seen = entries(folder_);
    }
    void end() override {}
    void note(std::string_view) override {}
    std::vector<std::string> seen;

   private:
    fs::path folder_;
  } looker(target() / "new");
  repo::Node root;
  root.type = repo::NodeType::dir;
  root.subtree = root_;
  FileRestoreOptions options;
  options.threads = 1;
  restore_files(*repo_, root, target().native(), options, looker, {});
  ASSERT_EQ(looker.seen.size(), 1U);
  EXPECT_THAT(looker.seen[0], ::testing::MatchesRegex("\\.respaldo-[0-9a-f]+"));
  EXPECT_EQ(entries(target() / "new"), std::vector<std::string>{"big"});
}

TEST_F(FileRestore, LeftoversOfAKilledOneGo) {
  save({folder("dir", {file("x", "x")}), folder("way", {folder("below", {file("y", "y")})})});
  const std::string left = ".respaldo-0123456789abcdef";
  const std::vector<std::string> others = {".respaldo-0123456789abcde", ".respaldo-0123456789abcdeg", "respaldo"};
  const auto lay_out = [&] {
    fs::remove_all(target());
    for (const fs::path& folder : {target(), target() / "dir", target() / "way/below"}) {
      fs::create_directories(folder);
      put(folder / left, "half");
    }
    for (const std::string& name : others) put(target() / "dir" / name, "of the user");
    fs::create_directory(target() / "dir/.respaldo-fedcba9876543210");
  };
  for (const Overwrite overwrite : {Overwrite::always, Overwrite::if_changed, Overwrite::never}) {
    lay_out();
    // Times are those of the clock's last tick: what was just made may be as new as the restore.
    const auto before = stat_of(target() / "way/below" / left).st_ctim;
    for (timespec now{}; now.tv_sec < before.tv_sec || (now.tv_sec == before.tv_sec && now.tv_nsec <= before.tv_nsec);)
      ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    EXPECT_EQ(restore_with(overwrite).problem_count, 0U);
    EXPECT_EQ(entries(target()), (std::vector<std::string>{"dir", "way"}));
    EXPECT_EQ(entries(target() / "dir").size(), others.size() + 2);
    EXPECT_EQ(entries(target() / "way/below"), std::vector<std::string>{"y"});
  }
  // Another one is at work there.
  lay_out();
  const os::UniqueFd other = os::open_file(target(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_EQ(::flock(other.get(), LOCK_SH), 0);
  restore();
  EXPECT_TRUE(fs::exists(target() / left));
}

TEST_F(FileRestore, NeverSaysWhatDiffersOfWhatItLeaves) {
  repo::Node mode = folder("mode", {file("same", "same")});
  mode.mode = S_IFDIR | 0755;
  save({file("kind", "x"), mode, folder("same", {file("size", "size"), file("time", "time")}), symlink_node("link", "x")});
  EXPECT_EQ(restore().problem_count, 0U);
  auto result = restore_with(Overwrite::never);
  EXPECT_EQ(result.kept, 7U);
  EXPECT_EQ(result.kept_different, 0U);
  fs::remove(target() / "kind");
  fs::create_symlink("x", target() / "kind");
  fs::permissions(target() / "mode", fs::perms(0700));
  put(target() / "same/size", "longer than it was");
  put(target() / "same/time", "TIME");
  result = restore_with(Overwrite::never);
  EXPECT_EQ(result.kept, 7U);
  EXPECT_EQ(result.kept_different, 4U);
  EXPECT_EQ(result.kept_different_named, (std::vector<std::string>{"kind", "mode", "same/size", "same/time"}));
  // The advice that is given is good.
  EXPECT_EQ(restore_with(Overwrite::if_changed).problem_count, 0U);
  EXPECT_EQ(restore_with(Overwrite::never).kept_different, 0U);
}

TEST_F(FileRestore, TheRootGivesItsMetadataToATargetThatIsNew) {
  save({file("x", "x")});
  repo::Node root = folder_node("files", root_);
  root = with_times(root);
  root.mode = S_IFDIR | 01751;
  restore_files(*repo_, root, target().native(), {}, silent_, {});
  EXPECT_EQ(stat_of(target()).st_mode & 07777, 01751U);
  EXPECT_EQ(stat_of(target()).st_mtim.tv_sec, 1'600'000'000);
  fs::permissions(target(), fs::perms(0700));
  restore_files(*repo_, root, target().native(), {}, silent_, {});
  EXPECT_EQ(stat_of(target()).st_mode & 07777, 0700U);
}

TEST_F(FileRestore, AnEmptyTargetIsMadeWhatTheRootWas) {
  save({file("x", "x"), folder("lost+found", {})});
  repo::Node root = with_times(folder_node("files", root_));
  root.mode = S_IFDIR | 02751;
  root.xattrs = {{"user.top", "1"}};
  for (const bool new_filesystem : {false, true}) {
    fs::remove_all(target());
    fs::create_directory(target());
    if (new_filesystem) fs::create_directory(target() / "lost+found");
    const auto result = restore_files(*repo_, root, target().native(), {}, silent_, {});
    EXPECT_EQ(result.problem_count, 0U);
    EXPECT_FALSE(result.kept_top);
    EXPECT_EQ(result.folders, 2U);
    EXPECT_EQ(stat_of(target()).st_mode & 07777, 02751U);
    EXPECT_EQ(stat_of(target()).st_mtim.tv_nsec, 123'456'789);
    char value[8];
    EXPECT_EQ(::getxattr(target().c_str(), "user.top", value, sizeof value), 1);
  }
}

TEST_F(FileRestore, ATargetThatHeldSomethingStaysAsItIsAndSaysSo) {
  save({file("x", "x")});
  repo::Node root = with_times(folder_node("files", root_));
  root.mode = S_IFDIR | 01751;
  root.uid = ::geteuid() + 7;
  const auto into = [&](const char* what, Overwrite overwrite) {
    fs::remove_all(target());
    fs::create_directory(target());
    if (what != nullptr) fs::create_directories(target() / what);
    fs::permissions(target(), fs::perms(0710));
    FileRestoreOptions options;
    options.overwrite = overwrite;
    const auto result = restore_files(*repo_, root, target().native(), options, silent_, {});
    EXPECT_EQ(result.problem_count, 0U);
    EXPECT_EQ(stat_of(target()).st_mode & 07777, 0710U);
    EXPECT_EQ(stat_of(target()).st_uid, ::geteuid());
    return result.kept_top;
  };
  for (const auto& kept : {into("other", Overwrite::always), into("lost+found/found", Overwrite::if_changed),
                           into(nullptr, Overwrite::never)}) {
    ASSERT_TRUE(kept);
    EXPECT_EQ(kept->mode, 0710U);
    EXPECT_EQ(kept->stored_mode, 01751U);
    EXPECT_EQ(kept->uid, ::geteuid());
    EXPECT_EQ(kept->stored_uid, root.uid);
  }
  // The same owner and mode: nothing to say.
  root.uid = ::geteuid();
  root.mode = S_IFDIR | 0710;
  EXPECT_FALSE(into("other", Overwrite::always));
}

TEST_F(FileRestore, OnlyAWholeRestoreTouchesItsTarget) {
  save({file("x", "x")});
  repo::Node root = with_times(folder_node("files", root_));
  root.mode = S_IFDIR | 01751;
  fs::create_directory(target());
  fs::permissions(target(), fs::perms(0710));
  FileRestoreOptions options;
  options.paths = {"x"};
  EXPECT_FALSE(restore_files(*repo_, root, target().native(), options, silent_, {}).kept_top);
  EXPECT_EQ(stat_of(target()).st_mode & 07777, 0710U);
}

TEST_F(FileRestore, ATargetThatIsAFileIsRefused) {
  save({file("x", "x")});
  put(target(), "a file");
  EXPECT_THROW(restore(), Error);
  EXPECT_EQ(text_of(target()), "a file");
}

}  // namespace
}  // namespace respaldo::restore
