#include "care/prune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "care/forget.h"
#include "care/used_blobs.h"
#include "os/file.h"
#include "repo/pack_writer.h"
#include "store/cache.h"
#include "store/forward.h"
#include "testing/memory_repository.h"
#include "testing/power_backend.h"
#include "testing/temp.h"
#include "view/volume_view.h"

namespace respaldo::care {
namespace {

using namespace respaldo::testing;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::size_t kChunk = 16U << 10, kChunks = 40;

class Prune : public ::testing::Test {
 protected:
  Prune() {
    repo::Repository::CreateOptions options;
    options.scrypt = crypto::ScryptParameters{1024, 1, 1};
    repository_ = repo::Repository::create(disk_.open(), "secret", options);
  }
  void reopen() { repository_ = repo::Repository::open(disk_.open(), "secret"); }

  // An image whose chunk i is the one of that number in a pool, so that backups share some.
  repo::SnapshotId store(const std::vector<std::uint64_t>& chunks) {
    std::string image;
    for (const std::uint64_t seed : chunks) image += as_text(random_bytes(chunk_, seed + 1));
    repo::WriterOptions options;
    options.pack_size = 8 * chunk_;
    const auto id = store_image(*repository_, as_bytes(image), {}, chunk_, options);
    images_[id] = std::move(image);
    return id;
  }
  repo::SnapshotId store_range(std::uint64_t first, std::uint64_t last, std::uint64_t step = 1) {
    std::vector<std::uint64_t> chunks;
    for (std::uint64_t i = first; i < last; i += step) chunks.push_back(i);
    return store(chunks);
  }
  // By a writer that does not know of the others: it stores all again.
  void store_again(std::uint64_t first, std::uint64_t last) {
    std::vector<std::pair<store::Handle, Bytes>> hidden;
    for (const auto& file : repository_->backend().list(store::FileType::index)) {
      const store::Handle handle{store::FileType::index, file.name};
      hidden.emplace_back(handle, repository_->backend().load_all(handle));
      repository_->backend().remove(handle);
    }
    store_range(first, last);
    for (const auto& [handle, bytes] : hidden) {
      const ByteView view = bytes;
      repository_->backend().save(handle, {&view, 1}, store::Durability::now);
    }
  }
  std::vector<repo::BlobLocation> copies_of_chunk(std::uint64_t number) {
    return indexed(*repository_)
        ->index()
        .find_all(repo::BlobType::data, {crypto::sha256(random_bytes(chunk_, number + 1))});
  }
  void damage(const repo::BlobLocation& copy) {
    flip(*repository_, {store::FileType::pack, copy.pack.hex()}, copy.offset + 50);
  }
  std::string save_stray() {
    const Bytes stray = random_bytes(1000, 5);
    const ByteView view = stray;
    const std::string name = to_hex(crypto::sha256(view));
    repository_->backend().save({store::FileType::pack, name}, {&view, 1}, store::Durability::now);
    return name;
  }
  void forget(const repo::SnapshotId& id) {
    repo::NamedSnapshot named;
    named.id = id;
    remove_backups(*repository_, std::span(&named, 1), progress_, {});
    images_.erase(id);
  }
  PruneReport prune(PruneOptions options = {}, const char* max_unused = "0%") {
    options.max_unused = UnusedLimit::parse(max_unused);
    options.threads = 2;
    options.pack_size = 8 * chunk_;
    return care::prune(*repository_, options, nullptr, progress_, {});
  }

  // Every backup that was not forgotten is there, and whole.
  void expect_whole() {
    const auto repo = indexed(*repository_);
    const auto backups = repository_->snapshots();
    ASSERT_EQ(backups.size(), images_.size());
    for (const repo::NamedSnapshot& backup : backups) {
      const auto volumes = view::stored_volumes(*repo, backup.snapshot);
      ASSERT_EQ(volumes.size(), 1U);
      const auto image = view::open_image(repo, volumes[0]);
      const Bytes bytes = block::read(*image, 0, image->size());
      EXPECT_EQ(as_text(bytes), images_.at(backup.id));
    }
  }
  // Nothing but what is needed, told once.
  void expect_minimal() {
    const auto repo = indexed(*repository_);
    const BlobBits used = find_used_blobs(*repo, repository_->snapshots(), 1, progress_, {});
    EXPECT_EQ(used.count(), repo->index().blob_count());
    std::set<std::string> told, stored;
    repo->index().for_each_pack([&](const repo::PackContents& pack) { told.insert(pack.pack.hex()); });
    for (const std::string& name : pack_names(*repository_)) stored.insert(name);
    EXPECT_EQ(told, stored);
    std::size_t listings = 0;
    for (const auto& file : repository_->backend().list(store::FileType::index))
      listings += repo::parse_index(repository_->load_unpacked(store::FileType::index, file.name)).size();
    EXPECT_EQ(listings, told.size());
  }

  std::size_t chunk_ = kChunk;
  PowerDisk disk_;
  SilentProgress progress_;
  std::unique_ptr<repo::Repository> repository_;
  std::map<repo::SnapshotId, std::string> images_;
};

TEST(UnusedLimit, a_size_without_a_unit_is_mib) {
  EXPECT_EQ(UnusedLimit::parse("2").bytes, 2U << 20);
  EXPECT_EQ(UnusedLimit::parse("2b").bytes, 2U);
}

TEST_F(Prune, removes_what_no_backup_needs) {
  const auto old = store_range(0, kChunks);
  store_range(0, kChunks, 3);
  store_range(100, 120);
  forget(old);
  const PruneReport report = prune();
  EXPECT_GT(report.stats.packs.repack, 0U);
  EXPECT_GT(report.stats.bytes.remove_total, 20 * kChunk);
  expect_whole();
  expect_minimal();
  const PruneReport again = prune();
  EXPECT_EQ(again.stats.packs.remove_total, 0U);
  EXPECT_EQ(again.index.written, 0U);
}

TEST_F(Prune, an_empty_repository_and_one_without_backups) {
  prune();
  forget(store_range(0, 10));
  const auto before = disk_.objects();
  EXPECT_THROW(prune(), Error) << "a store that lists nothing may be wrong";
  EXPECT_EQ(disk_.objects(), before);
  PruneOptions options;
  options.no_backups = true;
  prune(options);
  EXPECT_THAT(pack_names(*repository_), IsEmpty());
  expect_minimal();
}

// A store that answers "not found" for backups that are there, once or always, in lists or when they are read.
class Forgetful final : public store::Forward {
 public:
  enum class Of { list, first_list, load };
  Forgetful(std::unique_ptr<store::Backend> below, Of of) : Forward(std::move(below)), of_(of) {}
  std::vector<store::FileInfo> list(store::FileType type) override {
    const bool first = type == store::FileType::snapshot && std::exchange(first_, false);
    if (type == store::FileType::snapshot && (of_ == Of::list || (of_ == Of::first_list && first))) return {};
    return Forward::list(type);
  }
  Bytes load_all(const store::Handle& handle, std::uint64_t limit) override {
    if (of_ == Of::load && handle.type == store::FileType::snapshot)
      throw Error(ErrorKind::not_found, "there is no such object");
    return Forward::load_all(handle, limit);
  }

 private:
  const Of of_;
  bool first_ = true;
};

// A server that keeps all but locks.
class AppendOnly final : public store::Forward {
 public:
  using Forward::Forward;
  std::string location() const override { return "rest:http://host/"; }
  void remove(const store::Handle& handle) override {
    if (handle.type != store::FileType::lock) throw Error(ErrorKind::refused, "append-only");
    Forward::remove(handle);
  }
  void remove_many(std::span<const store::Handle> handles) override {
    for (const store::Handle& handle : handles) remove(handle);
  }
};

TEST_F(Prune, where_nothing_may_be_removed_nothing_is_stored_twice) {
  const auto late = store_range(10, kChunks);
  store_range(0, 15);
  forget(late);
  const auto before = disk_.objects();
  repository_ = repo::Repository::open(std::make_unique<AppendOnly>(disk_.open()), "secret");
  EXPECT_THROW(prune(), Error);
  PruneOptions without_repacking;
  without_repacking.max_repack_size = 0;
  EXPECT_THROW(prune(without_repacking), Error);
  EXPECT_EQ(disk_.objects(), before);
  reopen();
  EXPECT_GT(prune().stats.packs.repack, 0U);
}

TEST_F(Prune, what_a_store_forgets_to_tell_is_not_removed) {
  store_range(0, kChunks);
  const auto before = disk_.objects();
  for (const auto of : {Forgetful::Of::list, Forgetful::Of::first_list, Forgetful::Of::load}) {
    repository_ = repo::Repository::open(std::make_unique<Forgetful>(disk_.open(), of), "secret");
    EXPECT_THROW(prune(), Error) << static_cast<int>(of);
    EXPECT_EQ(disk_.objects(), before) << static_cast<int>(of);
  }
  reopen();
  expect_whole();
}

TEST_F(Prune, a_dry_run_changes_nothing_and_tells_the_same) {
  const auto old = store_range(0, kChunks);
  store_range(0, kChunks, 3);
  const auto before = disk_.objects();
  PruneOptions dry;
  dry.dry_run = true;
  dry.without = {old};
  const PruneReport told = prune(dry);
  EXPECT_EQ(disk_.objects(), before);
  forget(old);
  EXPECT_EQ(prune().stats.bytes.remove_total, told.stats.bytes.remove_total);
}

TEST_F(Prune, unused_data_may_stay_up_to_the_limit) {
  chunk_ = 512U << 10;  // small packs are always joined
  const auto old = store_range(0, 24);
  store_range(0, 24, 2);
  forget(old);
  prune({}, "unlimited");
  PruneOptions small;
  small.max_repack_size = 1;
  EXPECT_EQ(prune(small).stats.packs.repack, 0U);
  PruneOptions cacheable;
  cacheable.repack_cacheable_only = true;
  prune(cacheable);
  EXPECT_GT(prune(PruneOptions{.dry_run = true}).stats.bytes.unused, 0U);
  prune();
  expect_whole();
  expect_minimal();
}

TEST_F(Prune, packs_in_no_index_go) {
  store_range(0, 10);
  const std::string name = save_stray();
  EXPECT_EQ(prune().stats.packs.unreferenced, 1U);
  EXPECT_FALSE(repository_->backend().stat({store::FileType::pack, name}));
  expect_whole();
}

TEST_F(Prune, a_missing_pack_that_is_needed_stops_it) {
  store_range(0, 20);
  forget(store_range(50, 60));
  const std::string name = indexed(*repository_)
                               ->index()
                               .find(repo::BlobType::data, {crypto::sha256(random_bytes(kChunk, 1))})
                               ->pack.hex();
  repository_->backend().remove({store::FileType::pack, name});
  const auto before = disk_.objects();
  try {
    prune();
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(name.substr(0, 8)));
    EXPECT_THAT(error.hint(), HasSubstr("repair"));
  }
  EXPECT_EQ(disk_.objects(), before);
}

TEST_F(Prune, a_missing_pack_that_nobody_needs_is_forgotten) {
  store_range(0, 20);
  const auto old = store_range(50, 80);
  const std::string name = indexed(*repository_)
                               ->index()
                               .find(repo::BlobType::data, {crypto::sha256(random_bytes(kChunk, 51))})
                               ->pack.hex();
  repository_->backend().remove({store::FileType::pack, name});
  forget(old);
  EXPECT_EQ(prune().missing_packs, 1U);
  expect_whole();
  expect_minimal();
}

TEST_F(Prune, of_blobs_stored_twice_one_stays) {
  store_range(0, 30);
  store_again(0, 25);
  EXPECT_GE(prune().stats.blobs.duplicate, 25U);
  expect_whole();
  expect_minimal();
}

TEST_F(Prune, of_blobs_stored_twice_a_damaged_one_goes) {
  const auto late = store_range(28, 60);
  store_range(0, 30);
  store_again(0, 25);
  forget(late);
  const auto start = disk_.objects();
  std::size_t warned = 0;
  for (const std::uint64_t chunk : {0, 12, 24})
    for (const std::size_t rotten : {0, 1})
      for (const bool repack : {true, false}) {
        SCOPED_TRACE(::testing::Message() << "chunk " << chunk << ", copy " << rotten << ", " << repack);
        disk_.set_objects(start);
        reopen();
        const auto copies = copies_of_chunk(chunk);
        ASSERT_EQ(copies.size(), 2U);
        damage(copies[rotten]);
        PruneOptions options;
        if (!repack) options.max_repack_size = 1;
        options.dry_run = true;
        const PruneReport dry = prune(options);
        options.dry_run = false;
        const PruneReport report = prune(options);
        EXPECT_EQ(dry.stats.bytes.remove_total, report.stats.bytes.remove_total);
        EXPECT_GE(report.stats.blobs.duplicate, 24U);
        EXPECT_EQ(dry.warnings, report.warnings);
        for (const std::string& warning : report.warnings) {
          EXPECT_THAT(warning, HasSubstr(copies[rotten].pack.short_hex()));
          EXPECT_THAT(warning, HasSubstr("check --read-data"));
        }
        warned += report.warnings.size();
        expect_whole();
        if (repack) expect_minimal();
      }
  EXPECT_GT(warned, 0U);
}

TEST_F(Prune, a_blob_whose_copies_are_all_damaged_stops_it) {
  store_range(0, 30);
  store_again(0, 30);  // the packs of one of them go
  for (const repo::BlobLocation& copy : copies_of_chunk(7)) damage(copy);
  const auto before = disk_.objects();
  PruneOptions options;
  options.max_repack_size = 1;
  try {
    prune(options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("nothing was removed"));
    EXPECT_THAT(error.hint(), HasSubstr("repair"));
  }
  EXPECT_EQ(disk_.objects(), before);
}

// What a cache holds of a pack of trees tells nothing of the store's.
TEST_F(Prune, trees_stored_twice_are_read_from_the_store) {
  const os::TemporaryFolder folder;
  store_range(0, 30);
  store_again(0, 30);
  const auto start = disk_.objects();
  for (const std::size_t rotten : {0, 1}) {
    SCOPED_TRACE(rotten);
    disk_.set_objects(start);
    auto cache = store::with_cache(disk_.open(), {.folder = (folder.path() / std::to_string(rotten)).native()});
    store::CachingBackend& caching = *cache;
    repository_ = repo::Repository::open(std::move(cache), "secret");
    repository_->use_cache(caching);
    const auto known = indexed(*repository_);
    std::optional<repo::PackedBlob> tree;
    known->index().for_each_pack([&](const repo::PackContents& pack) {
      for (const repo::PackedBlob& blob : pack.blobs)
        if (known->index().find_all(blob.type, blob.id).size() == 2 && blob.type == repo::BlobType::tree) tree = blob;
    });
    ASSERT_TRUE(tree);
    const auto copies = known->index().find_all(tree->type, tree->id);
    for (const repo::BlobLocation& copy : copies) repository_->read_blob(tree->type, tree->id, copy);
    auto store = disk_.open();
    const store::Handle handle{store::FileType::pack, copies[rotten].pack.hex()};
    Bytes bytes = store->load_all(handle);
    bytes.data()[copies[rotten].offset + 50] ^= 1;
    const ByteView view = bytes;
    store->save(handle, {&view, 1}, store::Durability::now);
    prune();
    reopen();
    expect_whole();
  }
}

TEST_F(Prune, a_damaged_blob_that_is_needed_stops_it_unless_there_is_another_copy) {
  const auto old = store_range(0, kChunks);
  store_range(0, kChunks, 3);
  forget(old);
  save_stray();  // what an interrupted prune leaves may be the only whole copy
  const auto blob = copies_of_chunk(3).at(0);
  damage(blob);
  const auto packs = pack_names(*repository_);
  EXPECT_THROW(prune(), Error);
  const auto after = pack_names(*repository_);
  for (const std::string& name : packs) EXPECT_THAT(after, ::testing::Contains(name));
  damage(blob);  // back to what it was
  prune();
  expect_whole();
}

TEST_F(Prune, a_pack_told_by_several_index_files_is_told_once) {
  store_range(0, 30);
  const std::string name = repository_->backend().list(store::FileType::index).at(0).name;
  auto packs = repo::parse_index(repository_->load_unpacked(store::FileType::index, name));
  // One pack twice, and one spread over two files.
  auto half = packs.at(1);
  half.blobs.pop_back();
  repository_->save_unpacked(store::FileType::index, repo::to_json({packs.at(0), half}),
                             store::Durability::now);
  const auto rest = packs.at(1).blobs.back();
  packs.at(1).blobs = {rest};
  repository_->save_unpacked(store::FileType::index, repo::to_json(packs), store::Durability::now);
  repository_->backend().remove({store::FileType::index, name});
  prune();
  expect_whole();
  expect_minimal();
}

TEST_F(Prune, what_is_stored_uncompressed_can_be_compressed) {
  const std::string text(50000, 'a');
  crypto::Cipher cipher(repository_->master_key());
  HandMadeBackup backup(*repository_);
  const auto root =
      backup.tree({file_node("a", text.size(), {repo::BlobId{crypto::sha256(as_bytes(text))}})});
  {
    repo::PackWriter raw(*repository_);
    raw.add(repo::BlobType::data, {crypto::sha256(as_bytes(text))}, cipher.seal(as_bytes(text)), 0);
    raw.finish();
  }
  backup.save(root);
  EXPECT_EQ(prune().stats.packs.repack, 0U);
  PruneOptions options;
  options.repack_uncompressed = true;
  EXPECT_EQ(prune(options).stats.packs.repack, 1U);
  const auto repo = indexed(*repository_);
  const repo::BlobId id{crypto::sha256(as_bytes(text))};
  EXPECT_LT(repo->index().find(repo::BlobType::data, id)->length, 1000U);
  EXPECT_EQ(as_text(repo->load_blob(repo::BlobType::data, id)), text);
}

// Power goes at each change that forgetting and pruning make, one after the other.
TEST_F(Prune, power_may_go_at_any_step) {
  const auto old = store_range(0, kChunks);
  store_range(0, kChunks, 3);
  store_range(100, 130);
  const auto second = store_range(90, 120);
  const auto start = disk_.objects();
  const auto images = images_;
  bool finished = false;
  std::uint64_t step = 1;
  for (; !finished; ++step) {
    SCOPED_TRACE(step);
    disk_.set_objects(start);
    images_ = images;
    images_.erase(old);
    images_.erase(second);
    reopen();
    disk_.cut_at(step);
    try {
      std::vector<repo::NamedSnapshot> gone(2);
      gone[0].id = old;
      gone[1].id = second;
      remove_backups(*repository_, gone, progress_, {});
      prune();
      finished = true;
    } catch (const PowerCut&) {
    }
    disk_.reboot(step);
    reopen();
    // Backups may be back; then they are whole.
    for (const auto& backup : repository_->snapshots()) images_[backup.id] = images.at(backup.id);
    expect_whole();
    for (const auto& id : {old, second}) forget(id);
    prune();
    expect_whole();
    expect_minimal();
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(step, 20U);
}

}  // namespace
}  // namespace respaldo::care
