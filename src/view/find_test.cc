#include "view/find.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/memory_repository.h"

namespace respaldo::view {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

repo::Node node_of(std::string name, repo::NodeType type = repo::NodeType::file, std::uint64_t size = 0,
                   std::int64_t mtime = 0) {
  repo::Node node;
  node.name = std::move(name);
  node.type = type;
  node.size = size;
  node.mtime.seconds = mtime;
  return node;
}

bool fits(std::string pattern, const std::string& name, const std::string& folder = "",
          bool ignore_case = false) {
  FindQuery query;
  query.patterns = {std::move(pattern)};
  query.ignore_case = ignore_case;
  return FindMatcher(std::move(query)).matches(node_of(name), folder + "/" + name);
}

TEST(FindMatcher, PatternsAreOnNames) {
  EXPECT_TRUE(fits("passwd", "passwd", "/etc"));
  EXPECT_FALSE(fits("passw", "passwd"));
  EXPECT_FALSE(fits("etc", "passwd", "/etc"));
  EXPECT_TRUE(fits("*.conf", "a.conf"));
  EXPECT_TRUE(fits("*", ".hidden"));
  EXPECT_TRUE(fits("[a-c]?", "b1"));
  EXPECT_FALSE(fits("[!a-c]?", "b1"));
  EXPECT_TRUE(fits("a\\*", "a*"));
  EXPECT_FALSE(fits("a\\*", "ab"));
  EXPECT_FALSE(fits("README", "readme"));
  EXPECT_TRUE(fits("README", "readme", "", true));
}

TEST(FindMatcher, ASlashMakesThemPatternsOnPaths) {
  EXPECT_TRUE(fits("/vg0/root/etc/passwd", "passwd", "/vg0/root/etc"));
  EXPECT_FALSE(fits("/etc/passwd", "passwd", "/vg0/root/etc"));
  EXPECT_TRUE(fits("*/etc/p*", "passwd", "/vg0/root/etc"));
  EXPECT_TRUE(fits("etc/p*", "passwd", "/vg0/root/etc"));
  EXPECT_FALSE(fits("etc/p*", "passwd", "/vg0/root/notetc"));
  EXPECT_TRUE(fits("home/*/.bashrc", ".bashrc", "/vg0/root/home/ana"));
  EXPECT_TRUE(fits("HOME/*", ".bashrc", "/vg0/root/home/ana", true));
}

TEST(FindMatcher, NamesAreCharactersWhereTheyCanBe) {
  EXPECT_TRUE(fits("?rger", "\xc3\x84rger"));
  EXPECT_TRUE(fits("\xc3\xa4*", "\xc3\x84rger", "", true));
  EXPECT_TRUE(fits("raw*", "raw \xff\xfe"));
  EXPECT_TRUE(fits("*", "\xff\xfe"));
}

TEST(FindMatcher, EverythingGivenMustHold) {
  FindQuery query;
  query.patterns = {"*.log", "*.txt"};
  query.types = {repo::NodeType::file, repo::NodeType::symlink};
  query.newer = 100;
  query.older = 200;
  const FindMatcher matcher(query);
  const auto at = [&](const std::string& name, repo::NodeType type, std::int64_t mtime) {
    return matcher.matches(node_of(name, type, 0, mtime), "/" + name);
  };
  EXPECT_TRUE(at("a.log", repo::NodeType::file, 100));
  EXPECT_TRUE(at("a.txt", repo::NodeType::symlink, 199));
  EXPECT_FALSE(at("a.txt", repo::NodeType::dir, 150));
  EXPECT_FALSE(at("a.bin", repo::NodeType::file, 150));
  EXPECT_FALSE(at("a.log", repo::NodeType::file, 99));
  EXPECT_FALSE(at("a.log", repo::NodeType::file, 200));
}

TEST(FindMatcher, Sizes) {
  const auto fits_size = [](std::string_view size, std::uint64_t bytes,
                            repo::NodeType type = repo::NodeType::file) {
    FindQuery query;
    query.size = SizeTest::parse(size);
    return FindMatcher(query).matches(node_of("a", type, bytes), "/a");
  };
  EXPECT_TRUE(fits_size("+1k", 1025));
  EXPECT_FALSE(fits_size("+1k", 1024));
  EXPECT_TRUE(fits_size("-4k", 4095));
  EXPECT_FALSE(fits_size("-4k", 4096));
  EXPECT_TRUE(fits_size("4096", 4096));
  EXPECT_FALSE(fits_size("4096", 4097));
  EXPECT_TRUE(fits_size("0", 0));
  EXPECT_FALSE(fits_size("0", 0, repo::NodeType::dir));
  for (const char* wrong : {"", "+", "-", "k", "+-1", "-0", "1x"})
    EXPECT_THROW(SizeTest::parse(wrong), Error) << wrong;
}

class Finding : public ::testing::Test {
 protected:
  void SetUp() override { backup_.emplace(*repository_); }
  repo::Node folder(std::string name, std::vector<repo::Node> nodes) {
    return testing::folder_node(std::move(name), backup_->tree(std::move(nodes)));
  }
  repo::Node root(std::vector<repo::Node> nodes) { return folder("", std::move(nodes)); }
  void save(const std::vector<repo::Node>& nodes) {
    backup_->save(backup_->tree(nodes));
    indexed_ = testing::indexed(*repository_);
  }
  Finder finder(std::string pattern, std::uint64_t memory = 1U << 20) {
    FindQuery query;
    query.patterns = {std::move(pattern)};
    return {*indexed_, FindMatcher(std::move(query)), memory};
  }
  std::vector<std::string> find(Finder& finder, const repo::Node& start, const std::string& path = "/") {
    std::vector<std::string> found;
    finder.find(
        start, path, [&](const std::string& at, const FoundEntry&) { found.push_back(at); },
        [&](const std::string& at, const Error&) { problems_.push_back(at); }, {});
    return found;
  }
  std::unique_ptr<repo::Repository> repository_ = testing::memory_repository();
  std::optional<testing::HandMadeBackup> backup_;
  std::shared_ptr<const repo::IndexedRepository> indexed_;
  std::vector<std::string> problems_;
};

TEST_F(Finding, ParentsFirstInTreeOrder) {
  const repo::Node top = root({folder("a", {node_of("x"), folder("xx", {node_of("x")})}), node_of("b"),
                               folder("x", {node_of("y"), node_of("xz")})});
  save({});
  Finder all = finder("x*");
  EXPECT_THAT(find(all, top), ElementsAre("/a/x", "/a/xx", "/a/xx/x", "/x", "/x/xz"));
  EXPECT_EQ(all.trees_read(), 4U);
  Finder lower = finder("x*");
  repo::Node start = folder("x", {node_of("y"), node_of("xz")});
  EXPECT_THAT(find(lower, start, "/vg0/x/"), ElementsAre("/vg0/x", "/vg0/x/xz"));
}

TEST_F(Finding, SharedTreesAreReadOnce) {
  const std::vector<repo::Node> shared = {
      node_of("hit"), folder("deep", {node_of("hit"), node_of("other")}),
      folder("dull", {node_of("other"), folder("duller", {node_of("o")})})};
  const repo::Node first = root({folder("a", shared), node_of("n1")});
  const repo::Node second = root({folder("b", shared), folder("c", shared), node_of("n2")});
  save({});
  Finder found = finder("hit");
  EXPECT_THAT(find(found, first), ElementsAre("/a/deep/hit", "/a/hit"));
  EXPECT_EQ(found.trees_read(), 5U);
  EXPECT_THAT(find(found, second), ElementsAre("/b/deep/hit", "/b/hit", "/c/deep/hit", "/c/hit"));
  EXPECT_EQ(found.trees_read(), 6U);
  EXPECT_THAT(find(found, first), ElementsAre("/a/deep/hit", "/a/hit"));
  EXPECT_EQ(found.trees_read(), 6U);
}

TEST_F(Finding, PatternsOnPathsSeeWhereASharedTreeLies) {
  const std::vector<repo::Node> shared = {node_of("hit")};
  const repo::Node top = root({folder("a", shared), folder("b", shared)});
  save({});
  Finder found = finder("b/hit");
  EXPECT_THAT(find(found, top), ElementsAre("/b/hit"));
  EXPECT_THAT(find(found, top), ElementsAre("/b/hit"));
  EXPECT_EQ(found.trees_read(), 3U);
}

TEST_F(Finding, WithoutMemoryTreesAreReadAgain) {
  const repo::Node top = root({folder("a", {node_of("hit"), folder("b", {node_of("hit")})})});
  save({});
  for (const std::uint64_t memory : {0, 100, 300, 500}) {
    Finder found = finder("hit", memory);
    for (int i = 0; i < 3; ++i) EXPECT_THAT(find(found, top), ElementsAre("/a/b/hit", "/a/hit")) << memory;
    EXPECT_GT(found.trees_read(), 3U) << memory;
  }
}

TEST_F(Finding, WhatIsSharedTooOftenIsNotWalkedInVain) {
  // 2^64 folders, by 65 trees.
  repo::Node below = folder("bottom", {node_of("other")});
  for (int i = 0; i < 64; ++i) {
    repo::Node a = below, b = below;
    a.name = "a";
    b.name = "b";
    below = folder("x", {a, b});
  }
  save({});
  Finder found = finder("hit");
  EXPECT_THAT(find(found, below), IsEmpty());
  EXPECT_EQ(found.trees_read(), 65U);
}

TEST_F(Finding, ATreeThatIsMissingIsToldOnce) {
  const repo::Node missing = testing::folder_node("gone", repo::BlobId{});
  const repo::Node top = root({missing, folder("z", {node_of("hit"), missing})});
  save({});
  Finder found = finder("hit");
  EXPECT_THAT(find(found, top), ElementsAre("/z/hit"));
  EXPECT_THAT(find(found, top), ElementsAre("/z/hit"));
  EXPECT_THAT(problems_, ElementsAre("/gone"));
}

}  // namespace
}  // namespace respaldo::view
