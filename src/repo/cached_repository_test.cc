// A repository far away: what the cache and the uploads save. Requests are counted, never time.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "repo/repository.h"
#include "store/cache.h"
#include "store/layers.h"
#include "store/prefetch.h"
#include "testing/far_store.h"
#include "testing/memory_folder.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"

namespace respaldo::repo {
namespace {

class CachedRepository : public ::testing::Test {
 protected:
  void SetUp() override {
    Repository::CreateOptions options;
    options.scrypt = crypto::ScryptParameters{1024, 1, 1};
    Repository::create(store::open_local(store_.native()), "secret", options);
  }
  std::unique_ptr<Repository> open(bool use_cache = true) {
    auto far = std::make_unique<testing::FarStore>(store::open_local(store_.native()), control_);
    auto uploads = store::with_parallel_uploads(std::move(far), 5);
    auto cache =
        store::with_cache(store::with_prefetched_entrance(std::move(uploads)), {.folder = cache_.native()});
    store::CachingBackend& own = *cache;
    auto repository = Repository::open(std::move(cache), "secret");
    if (use_cache) repository->use_cache(own);
    return repository;
  }
  SnapshotId back_up(Repository& repository, std::uint64_t seed) {
    return testing::store_image(repository, testing::random_bytes(8U << 20, seed), {}, 64U << 10,
                                testing::small_packs());
  }
  // What `list` and `ls` do: all backups, the index, each tree of the newest.
  static void look(Repository& repository) {
    const auto all = repository.snapshots();
    const auto indexed = testing::indexed(repository);
    std::vector<BlobId> trees{all.back().snapshot.tree};
    while (!trees.empty()) {
      const Tree tree = indexed->load_tree(trees.back());
      trees.pop_back();
      for (const Node& node : tree.nodes)
        if (node.subtree) trees.push_back(*node.subtree);
    }
  }
  int requests() { return control_->requests.exchange(0); }

  testing::MemoryFolder folder_;
  const os::Path store_ = folder_.path() / "store", cache_ = folder_.path() / "cache";
  std::shared_ptr<testing::FarStoreControl> control_ = std::make_shared<testing::FarStoreControl>();
};

TEST_F(CachedRepository, looking_again_asks_for_no_more_than_what_is_new) {
  {
    const auto writer = open(false);
    for (std::uint64_t n = 0; n < 6; ++n) back_up(*writer, n);
  }
  requests();
  open();
  const int entrance = requests();  // config, settings of parity and what may have them, the list of keys, a key
  EXPECT_LE(entrance, 5);
  look(*open());
  const int cold = requests() - entrance;
  EXPECT_GE(cold, 2 + 6 + 6 + 1);
  look(*open());
  EXPECT_EQ(requests() - entrance, 2);  // what snapshots and indexes there are
  {
    const auto writer = open(false);
    back_up(*writer, 99);
  }
  requests();
  look(*open());
  EXPECT_LE(requests() - entrance, 2 + 1 + 1 + 2);
}

TEST_F(CachedRepository, what_was_saved_here_is_not_asked_for) {
  back_up(*open(), 1);
  requests();
  open();
  const int entrance = requests();
  look(*open());
  EXPECT_EQ(requests() - entrance, 2);
}

TEST_F(CachedRepository, without_the_cache_everything_is_asked_for) {
  back_up(*open(), 1);
  requests();
  look(*open(false));
  const int first = requests();
  look(*open(false));
  EXPECT_EQ(requests(), first);
}

TEST_F(CachedRepository, a_writer_goes_on_while_packs_are_on_their_way) {
  // Packs are held until the writer has made as many as may be held: were it to wait for one, it would stop
  // here.
  std::mutex mutex;
  std::condition_variable changed;
  bool free = false;
  std::atomic<int> held = 0;
  control_->before = [&](const char* what, const store::Handle& handle) {
    if (std::string_view(what) != "save" || handle.type != store::FileType::pack) return;
    ++held;
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return free; });
  };
  const auto repository = open();
  testing::HandMadeBackup backup(*repository, testing::small_packs());
  const Bytes image = testing::random_bytes(5U * (4U << 20) + (4U << 20), 7);
  const Node node = backup.file("image.raw", image);  // five packs and more
  while (held < 5) std::this_thread::yield();
  {
    std::lock_guard lock(mutex);
    free = true;
  }
  changed.notify_all();
  const SnapshotId id = backup.save(backup.tree({node}));
  EXPECT_EQ(control_->most_at_once, 5);
  const auto indexed = testing::indexed(*repository);
  std::string whole;
  for (const BlobId& blob : node.content) whole += as_text(indexed->load_blob(BlobType::data, blob));
  EXPECT_TRUE(whole == as_text(image));
  EXPECT_EQ(repository->snapshots().back().id, id);
}

TEST_F(CachedRepository, a_pack_that_cannot_be_saved_leaves_no_backup) {
  std::atomic<int> saved = 0;
  control_->before = [&](const char* what, const store::Handle& handle) {
    if (std::string_view(what) == "save" && handle.type == store::FileType::pack && ++saved == 2)
      throw Error(ErrorKind::no_space, "the store is full");
  };
  const auto repository = open();
  try {
    back_up(*repository, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::no_space);
  }
  EXPECT_TRUE(store::open_local(store_.native())->list(store::FileType::snapshot).empty());
  EXPECT_TRUE(store::open_local(store_.native())->list(store::FileType::index).empty());
}

}  // namespace
}  // namespace respaldo::repo
