#include "view/tree_walk.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "store/forward.h"
#include "testing/memory_repository.h"

namespace respaldo::view {
namespace {

using namespace respaldo::testing;

// Counts what is read.
class Counting final : public store::Forward {
 public:
  Counting(std::unique_ptr<store::Backend> below, std::atomic<std::size_t>& reads)
      : Forward(std::move(below)), reads_(reads) {}
  Bytes load(const store::Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    ++reads_;
    return below_->load(handle, offset, length);
  }

 private:
  std::atomic<std::size_t>& reads_;
};

class Walks : public ::testing::Test {
 protected:
  // Folders in folders, some empty, some the same, some whose tree is missing or is none.
  repo::BlobId folders(HandMadeBackup& backup, int depth) {
    std::vector<repo::Node> nodes;
    const auto count = random_() % 7;
    for (unsigned i = 0; i < count; ++i) {
      const std::string name = fmt::format("{}{}", random_() % 100, i);
      switch (depth == 0 ? 0 : random_() % 8) {
        case 0:
        case 1:
          nodes.push_back(file_node(name, random_() % 1000, {}));
          break;
        case 2:
          nodes.push_back(folder_node(name, missing_));
          break;
        case 3:
          nodes.push_back(folder_node(name, backup.raw_tree(fmt::format("no tree {}", random_()))));
          break;
        default:
          nodes.push_back(folder_node(name, folders(backup, depth - 1)));
      }
    }
    if (depth > 0 && count == 0) {
      nodes.push_back(folder_node("none", missing_));
      nodes.back().subtree.reset();
    }
    return backup.tree(std::move(nodes));
  }
  repo::Node saved(HandMadeBackup& backup, repo::BlobId root) {
    backup.save(root);
    blobs_ = indexed(*repository_);
    return folder_node("", root);
  }
  // What a walk says, where one folder in `skip` is passed over (0: none); it may dawdle.
  std::string told(const repo::Node& root, ReadAhead ahead, unsigned skip, WalkBounds bounds = kToLook,
                   bool slow = false) {
    TreeWalk walk(*blobs_, root, "/top", bounds, ahead);
    std::mt19937 random(skip), dawdling(skip);
    std::string text;
    for (;;) {
      try {
        if (!walk.next()) return text;
      } catch (const Error& error) {
        text += fmt::format("{}: {}\n", walk.entry().path, error.what());
        continue;
      }
      text += fmt::format("{} {} {}\n", walk.entry().depth, walk.entry().path, walk.entry().node.size);
      if (skip != 0 && random() % skip == 0) walk.skip();
      if (slow && dawdling() % 16 == 0)
        std::this_thread::sleep_for(std::chrono::microseconds(dawdling() % 300));
    }
  }

  bool comes_to(std::size_t reads) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (reads_ < reads && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return reads_ >= reads;
  }

  // Of small trees: 4 MiB, each counted as 4 KiB, and what is under way.
  static constexpr std::size_t kMostAhead = 1024 + 4;
  std::atomic<std::size_t> reads_{0};
  std::unique_ptr<repo::Repository> repository_ = [this] {
    repo::Repository::CreateOptions options;
    options.scrypt = crypto::ScryptParameters{1024, 1, 1};
    return repo::Repository::create(std::make_unique<Counting>(store::open_memory(), reads_), "secret",
                                    options);
  }();
  std::shared_ptr<const repo::IndexedRepository> blobs_;
  std::mt19937 random_{7};
  const repo::BlobId missing_ = *repo::BlobId::parse(std::string(64, '7'));
};

TEST_F(Walks, ReadingAheadChangesNothingOfWhatIsSeen) {
  std::size_t told_in_all = 0;
  for (int round = 0; round < 60; ++round) {
    HandMadeBackup backup(*repository_);
    const repo::Node root = saved(backup, folders(backup, 6));
    for (const unsigned skip : {0U, 3U, 9U}) {
      const std::string plain = told(root, ReadAhead::no, skip);
      EXPECT_EQ(told(root, ReadAhead::yes, skip), plain);
      EXPECT_EQ(told(root, ReadAhead::yes, skip, kToLook, true), plain);
      told_in_all += plain.size();
    }
    EXPECT_EQ(told(root, ReadAhead::yes, 0, {3, 1000}), told(root, ReadAhead::no, 0, {3, 1000}));
    EXPECT_EQ(told(root, ReadAhead::yes, 0, {100, 12}), told(root, ReadAhead::no, 0, {100, 12}));
  }
  EXPECT_GT(told_in_all, 100000U);
}

TEST_F(Walks, WhoeverEndsEarlyHasReadLittle) {
  HandMadeBackup backup(*repository_);
  std::vector<repo::Node> nodes;
  for (int i = 0; i < 3000; ++i)
    nodes.push_back(
        folder_node(fmt::format("{:04}", i), backup.tree({file_node(fmt::format("{}", i), 1, {})})));
  const repo::Node root = saved(backup, backup.tree(std::move(nodes)));
  for (std::size_t after = 0; after < 60; ++after) {
    reads_ = 0;
    {
      TreeWalk walk(*blobs_, root, "", kToLook, ReadAhead::yes);
      for (std::size_t i = 0; i < after; ++i) ASSERT_TRUE(walk.next());
    }
    const std::size_t read = reads_;
    EXPECT_LE(read, 1 + after + kMostAhead);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(reads_, read);
  }
}

TEST_F(Walks, LittleIsHeldOfWhatNobodyTakes) {
  HandMadeBackup backup(*repository_);
  const std::size_t count = 3000;
  std::vector<repo::Node> nodes;
  for (std::size_t i = 0; i < count; ++i)
    nodes.push_back(
        folder_node(fmt::format("{:04}", i), backup.tree({file_node(fmt::format("{}", i), 1, {})})));
  // Longer than what is read early, and what comes behind it waits.
  std::vector<repo::Node> many;
  for (int i = 0; i < 10000; ++i) many.push_back(file_node(fmt::format("{:0100}", i), 1, {}));
  nodes.insert(nodes.begin() + 100, folder_node("0099a", backup.tree(std::move(many))));
  const repo::Node root = saved(backup, backup.tree(std::move(nodes)));

  reads_ = 0;
  TreeWalk walk(*blobs_, root, "", kToLook, ReadAhead::yes);
  ASSERT_TRUE(walk.next());
  EXPECT_TRUE(comes_to(1 + 100));
  EXPECT_EQ(reads_, 1U + 100U);
  std::size_t entries = 1;
  while (walk.entry().path != "/0099a") {
    ASSERT_TRUE(walk.next());
    ++entries;
  }
  ASSERT_TRUE(walk.next());
  ++entries;
  EXPECT_TRUE(comes_to(1 + 100 + 1 + 1000));
  EXPECT_LE(reads_, 1 + 100 + 1 + kMostAhead);
  while (walk.next()) ++entries;
  EXPECT_EQ(entries, 1U + 2U * count + 10000U);
  EXPECT_EQ(reads_, 2U + count);
}

// Long nodes out of short JSON: they count as what they take, and what is passed over counts no more because
// it is gone.
TEST_F(Walks, ShortJsonOfManyNodesIsNotHeld) {
  HandMadeBackup backup(*repository_);
  std::vector<repo::Node> nodes;
  for (int i = 0; i < 300; ++i) {
    std::string json = fmt::format(R"({{"nodes":[{{"name":"{}"}})", i);
    for (int entry = 0; entry < 20000; ++entry) json += R"(,{"name":""})";
    nodes.push_back(folder_node(fmt::format("{:03}", i), backup.raw_tree(json + "]}")));
  }
  const repo::Node root = saved(backup, backup.tree(std::move(nodes)));
  const auto in_use = [] {
    const auto heap = ::mallinfo2();
    return heap.uordblks + heap.hblkhd;
  };
  reads_ = 0;
  const std::size_t before = in_use();
  TreeWalk walk(*blobs_, root, "", kToLook, ReadAhead::yes);
  for (std::size_t i = 0; i < 300; ++i) {
    ASSERT_TRUE(walk.next());
    ASSERT_TRUE(comes_to(1 + i + 1));  // it is there before it is passed over
    EXPECT_LE(reads_, 1U + i + 8U);
    walk.skip();
  }
  EXPECT_FALSE(walk.next());
  // All of them would be 2 GiB. (A sanitizer's heap tells nothing.)
  EXPECT_LT(in_use(), before + (200U << 20));
}

// The bound of the walk is that of what it reads, but for what was read ahead; and no end of a long chain is
// a recursion.
TEST_F(Walks, AChainDeeperThanTheWalkEnds) {
  HandMadeBackup backup(*repository_);
  repo::BlobId tree = backup.tree({});
  for (int i = 0; i < 200000; ++i) tree = backup.tree({folder_node(fmt::format("{}", i % 10), tree)});
  const repo::Node root = saved(backup, tree);
  for (const std::size_t deepest : {10U, 500U}) {
    reads_ = 0;
    const std::string plain = told(root, ReadAhead::no, 0, {deepest, 100000});
    EXPECT_EQ(reads_, deepest);
    for (int round = 0; round < 5; ++round) {
      reads_ = 0;
      EXPECT_EQ(told(root, ReadAhead::yes, 0, {deepest, 100000}), plain);
      EXPECT_LE(reads_, deepest + kMostAhead);
    }
  }
}

}  // namespace
}  // namespace respaldo::view
