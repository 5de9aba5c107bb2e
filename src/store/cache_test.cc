#include "store/cache.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/hex.h"
#include "crypto/crypto.h"
#include "os/file.h"
#include "store/backend_suite.h"
#include "testing/far_store.h"
#include "testing/memory_folder.h"
#include "testing/temp.h"

namespace respaldo::store {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

const std::string kRepository(64, 'a');

// The suite over a cache that is in use: its objects have names that are no hashes, and none may be believed.
class CachedPlace final : public SuitePlace {
 public:
  std::unique_ptr<Backend> open() override {
    auto cache = with_cache(open_local((folder_.path() / "repository").native()),
                            {.folder = (folder_.path() / "cache").native()});
    cache->use(kRepository);
    cache->tree_packs([](const std::string&) { return true; });
    return cache;
  }

 private:
  testing::MemoryFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(cache, BackendSuite,
                         ::testing::Values([] { return std::make_unique<CachedPlace>(); }));

class Cache : public ::testing::Test {
 protected:
  std::unique_ptr<CachingBackend> open(std::uint64_t limit = 1U << 30) {
    auto cache =
        with_cache(std::make_unique<testing::FarStore>(open_local(store_.native()), control_),
                   {.folder = cache_.native(), .limit = limit, .tell = [this](std::string_view text) {
                      told_.emplace_back(text);
                    }});
    cache->use(kRepository);
    return cache;
  }
  // Puts an object into the store, beside the cache.
  Handle put(FileType type, ByteView bytes) {
    const Handle handle{type, to_hex(crypto::sha256(bytes))};
    open_local(store_.native())->save(handle, {&bytes, 1}, Durability::at_sync);
    return handle;
  }
  Handle put(FileType type, std::string_view text) { return put(type, as_bytes(text)); }
  os::Path cached(const Handle& handle) const {
    const char* folder = handle.type == FileType::pack    ? "data"
                         : handle.type == FileType::index ? "index"
                                                          : "snapshots";
    return cache_ / kRepository / folder / handle.name.substr(0, 2) / handle.name;
  }
  int requests() { return control_->requests.exchange(0); }

  testing::MemoryFolder folder_;
  const os::Path store_ = folder_.path() / "store", cache_ = folder_.path() / "deep" / "cache";
  std::shared_ptr<testing::FarStoreControl> control_ = std::make_shared<testing::FarStoreControl>();
  std::vector<std::string> told_;
  void SetUp() override { open_local(store_.native())->create(); }
};

TEST_F(Cache, snapshots_and_indexes_are_asked_for_once) {
  const Handle index = put(FileType::index, "an index"), snapshot = put(FileType::snapshot, "a snapshot");
  for (int run = 0; run < 3; ++run) {
    const auto cache = open();
    EXPECT_EQ(as_text(cache->load_all(index)), "an index");
    EXPECT_EQ(as_text(cache->load_all(snapshot)), "a snapshot");
    EXPECT_EQ(requests(), run == 0 ? 2 : 0);
  }
  EXPECT_EQ(os::read_text(cached(index)), "an index");
  EXPECT_THAT(os::read_text(cache_ / "CACHEDIR.TAG"),
              HasSubstr("Signature: 8a477f597d28d172789f06886806bc55"));
  EXPECT_EQ(os::read_text(cache_ / kRepository / "version"), "1");
  EXPECT_EQ(fs::status(cache_ / kRepository).permissions(), fs::perms::owner_all);
}

TEST_F(Cache, what_is_saved_is_cached) {
  const std::string text = "a snapshot of our own";
  const Handle handle{FileType::snapshot, to_hex(crypto::sha256(as_bytes(text)))};
  const ByteView whole = as_bytes(text);
  const auto cache = open();
  cache->save(handle, {&whole, 1}, Durability::now);
  requests();
  EXPECT_EQ(as_text(cache->load_all(handle)), text);
  EXPECT_EQ(requests(), 0);
}

TEST_F(Cache, keys_locks_and_the_configuration_are_not_cached) {
  const auto cache = open();
  for (const FileType type : {FileType::key, FileType::lock}) {
    const Handle handle = put(type, "contents");
    cache->load_all(handle);
    cache->load_all(handle);
  }
  EXPECT_EQ(requests(), 4);
}

TEST_F(Cache, what_is_wrong_is_dropped_and_loaded_anew) {
  const Handle handle = put(FileType::index, "an index");
  open()->load_all(handle);
  requests();
  for (const std::string& wrong : {std::string("an indeX"), std::string(), std::string(100'000, 'x')}) {
    std::ofstream(cached(handle), std::ios::binary) << wrong;
    EXPECT_EQ(as_text(open()->load_all(handle)), "an index");
    EXPECT_EQ(requests(), 1);
    EXPECT_EQ(os::read_text(cached(handle)), "an index");
  }
}

TEST_F(Cache, a_link_in_the_cache_leads_nowhere) {
  const Handle handle = put(FileType::index, "an index");
  open()->load_all(handle);
  fs::remove(cached(handle));
  std::ofstream(folder_.path() / "elsewhere") << "an index";
  fs::create_symlink(folder_.path() / "elsewhere", cached(handle));
  requests();
  EXPECT_EQ(as_text(open()->load_all(handle)), "an index");
  EXPECT_EQ(requests(), 1);
}

TEST_F(Cache, nothing_is_removed_but_what_it_made) {
  const Handle kept = put(FileType::index, "an index");
  open()->load_all(kept);
  const fs::path elsewhere = folder_.path() / "elsewhere", folder = fs::path(cached(kept)).parent_path();
  fs::create_directory(elsewhere);
  const std::string gone(64, '7'), fresh = gone + "-tmp-0123abcd", old = gone + "-tmp-0123abce";
  for (const fs::path& file : {elsewhere / "precious", elsewhere / gone, folder / "precious", folder / gone, folder / fresh, folder / old})
    std::ofstream(file) << "text";
  fs::last_write_time(folder / old, fs::file_time_type::clock::now() - std::chrono::hours(2));
  fs::create_directory_symlink(elsewhere, folder.parent_path() / "zz");
  open()->list(FileType::index);
  EXPECT_TRUE(fs::exists(elsewhere / "precious"));
  EXPECT_TRUE(fs::exists(elsewhere / gone)) << "behind a link";
  EXPECT_TRUE(fs::exists(folder / "precious"));
  EXPECT_TRUE(fs::exists(folder / fresh)) << "another process writes it";
  EXPECT_FALSE(fs::exists(folder / gone));
  EXPECT_FALSE(fs::exists(folder / old));
  EXPECT_TRUE(fs::exists(cached(kept)));
}

TEST_F(Cache, folders_of_others_are_not_used) {
  const Handle handle = put(FileType::index, "an index");
  open()->load_all(handle);
  EXPECT_TRUE(told_.empty());
  const os::Path theirs = cache_ / kRepository / "index", moved = cache_ / "moved";
  fs::rename(theirs, moved);
  fs::create_directory_symlink(moved, theirs);
  EXPECT_EQ(as_text(open()->load_all(handle)), "an index");
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_THAT(told_[0], HasSubstr(theirs.native()));
  if (::geteuid() != 0) return;  // who is not root can give nothing away
  fs::remove(theirs);
  fs::rename(moved, theirs);
  ASSERT_EQ(::chown(cache_.c_str(), 12345, 12345), 0);
  told_.clear();
  EXPECT_EQ(as_text(open()->load_all(handle)), "an index");
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_THAT(told_[0], AllOf(HasSubstr("another user"), HasSubstr("--cache-dir")));
}

TEST_F(Cache, what_the_store_gives_wrong_is_not_cached) {
  const Handle handle{FileType::index, std::string(64, '5')};
  const ByteView whole = as_bytes("not what the name says");
  open_local(store_.native())->save(handle, {&whole, 1}, Durability::at_sync);
  const auto cache = open();
  EXPECT_EQ(as_text(cache->load_all(handle)), "not what the name says");  // for the reader to judge
  EXPECT_FALSE(fs::exists(cached(handle)));
}

TEST_F(Cache, packs_of_trees_are_loaded_whole_and_once) {
  const Bytes pack = testing::random_bytes(300'000, 1), other = testing::random_bytes(1000, 2);
  const Handle trees = put(FileType::pack, pack), data = put(FileType::pack, other);
  for (int run = 0; run < 2; ++run) {
    const auto cache = open();
    cache->tree_packs([&](const std::string& name) { return name == trees.name; });
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 8; ++thread)
      threads.emplace_back([&, thread] {
        for (std::uint64_t at = 0; at < 10; ++at) {
          const std::uint64_t offset = at * 20'000 + static_cast<std::uint64_t>(thread);
          EXPECT_EQ(as_text(cache->load(trees, offset, 777)), as_text(pack.view(offset, 777)));
        }
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(requests(), run == 0 ? 1 : 0);
    cache->load(data, 0, 10);
    cache->load(data, 0, 10);
    EXPECT_EQ(requests(), 2);
    EXPECT_FALSE(fs::exists(cached(data)));
    EXPECT_THROW(cache->load(trees, 299'999, 2), Error);
    requests();
  }
}

TEST_F(Cache, a_damaged_pack_of_trees_is_read_as_it_is) {
  const Handle handle{FileType::pack, std::string(64, '5')};
  const ByteView whole = as_bytes("damaged");
  open_local(store_.native())->save(handle, {&whole, 1}, Durability::at_sync);
  const auto cache = open();
  cache->tree_packs([](const std::string&) { return true; });
  EXPECT_EQ(as_text(cache->load(handle, 1, 3)), "ama");
  EXPECT_EQ(as_text(cache->load(handle, 0, 3)), "dam");
  EXPECT_EQ(requests(), 3);  // whole once, then ranges
}

TEST_F(Cache, a_pack_of_trees_of_our_own_is_kept) {
  const Bytes pack = testing::random_bytes(10'000, 1);
  const Handle handle = put(FileType::pack, pack);
  const auto cache = open();
  cache->keep_tree_pack(handle.name, pack);
  EXPECT_EQ(as_text(cache->load(handle, 5, 10)), as_text(pack.view(5, 10)));
  EXPECT_EQ(requests(), 0);
}

TEST_F(Cache, what_the_store_no_longer_lists_goes) {
  const Handle first = put(FileType::snapshot, "first"), second = put(FileType::snapshot, "second");
  const auto cache = open();
  cache->load_all(first), cache->load_all(second);
  open_local(store_.native())->remove(first);
  EXPECT_EQ(cache->list(FileType::snapshot).size(), 1U);
  EXPECT_FALSE(fs::exists(cached(first)));
  EXPECT_TRUE(fs::exists(cached(second)));
  cache->remove(second);
  EXPECT_FALSE(fs::exists(cached(second)));
  const Handle pack = put(FileType::pack, "trees");
  cache->keep_tree_pack(pack.name, as_bytes("trees"));
  cache->tree_packs([](const std::string&) { return false; });
  EXPECT_FALSE(fs::exists(cached(pack)));
}

TEST_F(Cache, it_does_not_grow_past_its_limit_and_the_oldest_goes_first) {
  const auto cache = open(100'000);
  std::vector<Handle> objects;
  for (unsigned i = 0; i < 12; ++i) {
    objects.push_back(put(FileType::index, testing::random_bytes(10'000, i)));
    cache->load_all(objects.back());
    // Used long ago, the earlier the longer; but for the first, which is used all the time.
    const auto age = std::chrono::hours(i == 0 ? 0 : 100 - static_cast<int>(i));
    fs::last_write_time(cached(objects.back()), fs::file_time_type::clock::now() - age);
  }
  std::uint64_t total = 0;
  for (const auto& entry : fs::recursive_directory_iterator(cache_))
    if (entry.is_regular_file() && entry.path().filename().native().size() == 64) total += entry.file_size();
  EXPECT_LE(total, 100'000U);
  EXPECT_TRUE(fs::exists(cached(objects[0])));
  EXPECT_FALSE(fs::exists(cached(objects[1])));
  EXPECT_TRUE(fs::exists(cached(objects[11])));
  // One that is a large part of it is not taken at all.
  const Handle large = put(FileType::index, testing::random_bytes(50'000, 99));
  EXPECT_EQ(cache->load_all(large).size(), 50'000U);
  EXPECT_FALSE(fs::exists(cached(large)));
}

TEST_F(Cache, a_cache_that_cannot_be_used_is_told_of_once_and_no_error) {
  const Handle handle = put(FileType::index, "an index");
  fs::create_directories(cache_.parent_path());
  std::ofstream(cache_) << "a file where the folder should be";
  const auto cache = open();
  EXPECT_EQ(as_text(cache->load_all(handle)), "an index");
  EXPECT_EQ(as_text(cache->load_all(handle)), "an index");
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_THAT(told_[0], HasSubstr("going on without it"));
}

TEST(CacheFolderPlace, is_where_people_look_for_it) {
  std::map<std::string, std::string> variables{{"HOME", "/home/me"}};
  const auto environment = [&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
  EXPECT_EQ(usual_cache_folder(environment), "/home/me/.cache/respaldo");
  variables["XDG_CACHE_HOME"] = "/fast";
  EXPECT_EQ(usual_cache_folder(environment), "/fast/respaldo");
  variables["RESPALDO_CACHE_DIR"] = "/mine";
  EXPECT_EQ(usual_cache_folder(environment), "/mine");
}

}  // namespace
}  // namespace respaldo::store
