#include "care/repair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "care/named_packs.h"
#include "care/prune.h"
#include "care/repair_snapshots.h"
#include "parity/parity_backend.h"
#include "parity/repair.h"
#include "parity/sidecar.h"
#include "parity/upkeep.h"
#include "repo/blob_writer.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "view/volume_view.h"

namespace respaldo::care {
namespace {

using namespace respaldo::testing;
using repo::BlobType;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Property;
using ::testing::SizeIs;

constexpr std::size_t kChunk = 100'000, kChunks = 30;

std::string facts() {
  view::VolumeFacts facts;
  facts.vg = "vg0";
  facts.lv = "root";
  facts.size = kChunk * kChunks;
  return facts.to_json();
}

// A medium with a sector that it does not give back.
class BadSector final : public store::Backend {
 public:
  explicit BadSector(std::unique_ptr<store::Backend> below) : below_(std::move(below)) {}
  std::string pack;
  std::uint64_t at = 0;
  int number = EIO;  // 0: as when the link is down

  std::string location() const override { return below_->location(); }
  void create() override { below_->create(); }
  void save(const store::Handle& handle, std::span<const ByteView> parts,
            store::Durability durability) override {
    below_->save(handle, parts, durability);
  }
  void sync() override { below_->sync(); }
  Bytes load(const store::Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    if (!pack.empty() && handle.name == pack && offset < at + 512 && at < offset + length)
      throw Error(ErrorKind::io, "Input/output error").set_error_number(number);
    return below_->load(handle, offset, length);
  }
  Bytes load_all(const store::Handle& handle, std::uint64_t limit) override {
    if (!pack.empty() && handle.name == pack) throw Error(ErrorKind::io, "Input/output error").set_error_number(number);
    return below_->load_all(handle, limit);
  }
  std::optional<store::FileInfo> stat(const store::Handle& handle) override { return below_->stat(handle); }
  std::vector<store::FileInfo> list(store::FileType type) override { return below_->list(type); }
  void remove(const store::Handle& handle) override { below_->remove(handle); }
  bool is_permanent(const Error&) const override { return true; }
  Bytes plain_copy() { return below_->load_all({store::FileType::pack, pack}); }

 private:
  const std::unique_ptr<store::Backend> below_;
};

// One image in one pack of data, and a hand that damages it.
class RepairPacks : public ::testing::Test {
 protected:
  RepairPacks() { store(); }

  void store() { store_image(*repository_, image_, facts(), kChunk, {}); }
  repo::BlobId chunk(std::size_t n) const { return {crypto::sha256(image_.view(n * kChunk, kChunk))}; }
  repo::BlobLocation place(std::size_t n) {
    return *indexed(*repository_)->index().find(BlobType::data, chunk(n));
  }
  void damage(std::size_t n) {
    const auto there = place(n);
    flip(*repository_, {store::FileType::pack, there.pack.hex()}, there.offset + 1000);
  }
  RepairPacksReport repair(const repo::PackId& pack) {
    return repair_packs(*repository_, {pack},
                        [&](const repo::PackId&, ByteView bytes) { kept_ = as_text(bytes); }, nullptr, progress_, {});
  }
  void repair_backups() {
    for (const RepairedBackup& one :
         repair_snapshots(*repository_, repository_->snapshots(), {.forget = true}, nullptr, progress_, {}).backups)
      losses_.insert(losses_.end(), one.losses.begin(), one.losses.end());
  }
  std::string image() {
    const auto repo = indexed(*repository_);
    const auto volumes = view::stored_volumes(*repo, repository_->snapshots().back().snapshot);
    const auto stored = view::open_image(repo, volumes.at(0));
    return std::string(as_text(block::read(*stored, 0, stored->size())));
  }

  std::unique_ptr<repo::Repository> make() {
    auto medium = std::make_unique<BadSector>(store::open_memory());
    medium_ = medium.get();
    repo::Repository::CreateOptions options;
    options.scrypt = crypto::ScryptParameters{1024, 1, 1};
    return repo::Repository::create(std::move(medium), "secret", options);
  }

  const Bytes image_ = random_bytes(kChunk * kChunks, 7);
  BadSector* medium_ = nullptr;
  std::unique_ptr<repo::Repository> repository_ = make();
  SilentProgress progress_;
  std::string kept_;
  std::vector<std::string> losses_;
};

TEST_F(RepairPacks, several_lost_blobs_cost_an_image_no_more_than_themselves) {
  damage(3);
  damage(20);
  EXPECT_THAT(repair(place(3).pack).lost, SizeIs(2));
  EXPECT_THROW(prune(*repository_, {}, nullptr, progress_, {}), Error);
  repair_backups();
  EXPECT_THAT(losses_, SizeIs(2));
  EXPECT_THAT(repair_index(*repository_, {}, nullptr, progress_, {}).missing, SizeIs(1));
  std::string expected(as_text(image_));
  for (const std::size_t n : {3U, 20U})
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(n * kChunk), kChunk, '\0');
  EXPECT_TRUE(image() == expected);
  EXPECT_EQ(prune(*repository_, {}, nullptr, progress_, {}).missing_packs, 0U);
  EXPECT_TRUE(image() == expected);
}

TEST(RepairSnapshots, what_is_lost_of_parts_in_folders_is_zeros_in_its_place) {
  constexpr std::size_t kPart = 100000, kBlob = 10000;
  const auto repository = memory_repository();
  const Bytes image = random_bytes(4 * kPart, 1);
  const ByteView lost = image.view(kPart + kBlob, kBlob);
  {
    HandMadeBackup alone(*repository);
    alone.save(alone.tree({alone.file("in a pack of its own", lost), alone.file("two of a part", image.view(2 * kBlob, kBlob)),
                           alone.file("whose lengths nobody knows", image.view(5 * kBlob, kBlob))}));
  }
  HandMadeBackup backup(*repository);
  std::vector<repo::Node> parts;
  for (std::size_t at = 0; at < image.size(); at += kPart)
    parts.push_back(folder_node(view::part_folder_name(at),
                                backup.tree({backup.file("image.raw", image.view(at, kPart), kBlob)})));
  view::VolumeFacts facts;
  facts.size = image.size();
  const auto lv = backup.tree(
      {folder_node("image", backup.tree(parts)), backup.file("volume.json", as_bytes(facts.to_json()))});
  backup.save(backup.tree({folder_node("vg0", backup.tree({folder_node("root", lv)}))}));
  {
    const auto known = indexed(*repository);
    for (const std::size_t part : {2U, 3U}) {
      const auto tree = known->index().find(BlobType::tree, *parts[part].subtree);
      flip(*repository, {store::FileType::pack, tree->pack.hex()}, tree->offset + 20);
    }
    const auto data = known->index().find(BlobType::data, repo::BlobId{crypto::sha256(lost)});
    repository->backend().remove({store::FileType::pack, data->pack.hex()});
  }
  SilentProgress progress;
  repair_index(*repository, {}, nullptr, progress, {});
  repair_snapshots(*repository, repository->snapshots(), {.forget = true}, nullptr, progress, {});
  const auto known = indexed(*repository);
  std::vector<view::StoredVolume> volumes;
  for (const auto& repaired : repository->snapshots())
    std::ranges::move(view::stored_volumes(*known, repaired.snapshot), std::back_inserter(volumes));
  ASSERT_THAT(volumes, SizeIs(1));
  std::string expected(as_text(image));
  std::fill_n(expected.begin(), kPart, '\0');
  std::fill_n(expected.begin() + kPart + kBlob, kBlob, '\0');
  std::fill_n(expected.begin() + 2 * kPart, 2 * kPart, '\0');
  const auto device = view::open_image(known, volumes[0]);
  ASSERT_EQ(device->size(), expected.size());
  EXPECT_TRUE(as_text(block::read(*device, 0, expected.size())) == expected);
  std::vector<Extent> told;
  for (const view::LostRange& range : volumes[0].facts.value().lost) told.push_back(range.extent);
  EXPECT_THAT(told, ::testing::ElementsAre(Extent{0, kPart}, Extent{kPart + kBlob, kBlob}, Extent{2 * kPart, kPart},
                                           Extent{3 * kPart, kPart}));
}

TEST(RepairSnapshots, a_folder_that_lies_deep_is_no_lost_one) {
  const auto repository = memory_repository();
  const Bytes bytes = random_bytes(20'000, 1);
  const ByteView lost = bytes.view(0, 10'000), whole = bytes.view(10'000, 10'000);
  {
    HandMadeBackup alone(*repository);
    alone.save(alone.tree({alone.file("in a pack of its own", lost)}));
  }
  HandMadeBackup backup(*repository);
  repo::BlobId deep = backup.tree({backup.file("far down", whole)});
  for (int i = 0; i < 1500; ++i) deep = backup.tree({folder_node("n", deep)});
  backup.save(backup.tree({folder_node("deep", deep), backup.file("lost", lost)}));
  const auto data = indexed(*repository)->index().find(BlobType::data, repo::BlobId{crypto::sha256(lost)});
  repository->backend().remove({store::FileType::pack, data->pack.hex()});
  SilentProgress progress;
  repair_index(*repository, {}, nullptr, progress, {});
  repair_snapshots(*repository, repository->snapshots(), {.forget = true}, nullptr, progress, {});
  const auto known = indexed(*repository);
  bool found = false;
  for (const auto& repaired : repository->snapshots())
    for (const repo::Node& node : known->load_tree(repaired.snapshot.tree).nodes)
      if (node.name == "deep") {
        found = true;
        EXPECT_EQ(*node.subtree, deep);
      }
  EXPECT_TRUE(found);
}

TEST_F(RepairPacks, what_is_lost_is_stored_again_by_who_still_has_it) {
  damage(3);
  damage(20);
  repair(place(3).pack);
  {
    const repo::IndexedRepository stored(*repository_, repository_->load_stored_index(progress_));
    repo::BlobWriter writer(stored, {});
    const auto lane = writer.open_lane();
    for (std::size_t n = 0; n < kChunks; ++n)
      EXPECT_EQ(lane->save(BlobType::data, image_.view(n * kChunk, kChunk)).is_new, n == 3 || n == 20);
    lane->close();
    writer.finish();
  }
  repair_backups();
  EXPECT_THAT(losses_, IsEmpty());
  repair_index(*repository_, {}, nullptr, progress_, {});
  EXPECT_TRUE(image() == as_text(image_));
}

TEST_F(RepairPacks, a_pack_without_losses_leaves_nothing_in_the_index) {
  const auto pack = place(0).pack;
  flip(*repository_, {store::FileType::pack, pack.hex()},
       repository_->backend().stat({store::FileType::pack, pack.hex()})->size - 1);
  EXPECT_EQ(repair(pack).lost.size(), 0U);
  EXPECT_THAT(repair_index(*repository_, {}, nullptr, progress_, {}).missing, IsEmpty());
  EXPECT_TRUE(image() == as_text(image_));
}

TEST_F(RepairPacks, a_sector_that_cannot_be_read_costs_its_blob_alone) {
  const auto there = place(5);
  medium_->pack = there.pack.hex();
  medium_->at = (there.offset + 4096) / 512 * 512;
  const std::string whole(as_text(medium_->plain_copy()));
  const RepairPacksReport report = repair(there.pack);
  ASSERT_THAT(report.lost, SizeIs(1));
  EXPECT_EQ(report.lost[0].id, chunk(5));
  ASSERT_THAT(report.unreadable, SizeIs(1));
  EXPECT_EQ(report.unreadable[0].second, ExtentSet({{medium_->at, 512}}));
  std::string expected = whole;
  std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(medium_->at), 512, '\0');
  EXPECT_TRUE(kept_ == expected);
}

TEST_F(RepairPacks, a_header_that_cannot_be_read_costs_nothing) {
  const auto pack = place(0).pack;
  medium_->pack = pack.hex();
  medium_->at = (repository_->backend().stat({store::FileType::pack, pack.hex()})->size - 1) / 512 * 512;
  EXPECT_THAT(repair(pack).lost, IsEmpty());
  EXPECT_TRUE(image() == as_text(image_));
}

TEST_F(RepairPacks, a_link_that_is_down_is_no_loss) {
  const auto there = place(5);
  medium_->pack = there.pack.hex();
  medium_->number = 0;
  const std::uint64_t size = repository_->backend().stat({store::FileType::pack, medium_->pack})->size;
  // In a blob, and in the header.
  for (const std::uint64_t at : {std::uint64_t{there.offset} + 4096, size - 1}) {
    medium_->at = at / 512 * 512;
    EXPECT_THAT([&] { repair(there.pack); },
                ::testing::Throws<Error>(AllOf(Property(&Error::kind, ErrorKind::io),
                                               Property(&Error::what, HasSubstr("nothing was removed")))));
    EXPECT_TRUE(repository_->backend().stat({store::FileType::pack, medium_->pack}));
  }
  EXPECT_THAT([&] { repair_index(*repository_, {.read_all_packs = true}, nullptr, progress_, {}); },
              ::testing::Throws<Error>(Property(&Error::kind, ErrorKind::io)));
  medium_->pack.clear();
  EXPECT_TRUE(image() == as_text(image_));
}

TEST_F(RepairPacks, behind_a_broken_seal_of_its_header_each_blob_vouches_for_itself) {
  const auto pack = place(0).pack;
  const store::Handle handle{store::FileType::pack, pack.hex()};
  damage(3);
  flip(*repository_, handle, repository_->backend().stat(handle)->size - 5);  // of the header's tag
  for (const store::FileInfo& file : repository_->backend().list(store::FileType::index))
    repository_->backend().remove({store::FileType::index, file.name});
  EXPECT_THAT(repair_index(*repository_, {}, nullptr, progress_, {}).unreadable_packs, SizeIs(1));
  const RepairPacksReport report = repair(pack);
  EXPECT_EQ(report.salvaged, kChunks + 1 - 1);  // and volume.json
  ASSERT_THAT(report.lost, SizeIs(1));
  EXPECT_EQ(report.lost[0].id, chunk(3));
}

TEST_F(RepairPacks, a_pack_of_which_nothing_tells_what_it_holds_stays) {
  const auto pack = place(0).pack;
  const store::Handle handle{store::FileType::pack, pack.hex()};
  const std::uint64_t size = repository_->backend().stat(handle)->size;
  // The last entry, all of it: there is no such kind of blob.
  for (std::uint64_t at = size - 20 - 41; at < size - 20; ++at) flip(*repository_, handle, at);
  for (const store::FileInfo& file : repository_->backend().list(store::FileType::index))
    repository_->backend().remove({store::FileType::index, file.name});
  EXPECT_THAT([&] { repair(pack); },
              ::testing::Throws<Error>(AllOf(Property(&Error::kind, ErrorKind::corrupt),
                                             Property(&Error::message, HasSubstr(pack.hex())),
                                             Property(&Error::message, HasSubstr("nothing was removed")))));
  EXPECT_TRUE(repository_->backend().stat(handle));
}

TEST_F(RepairPacks, whose_lock_is_gone_removes_nothing) {
  damage(3);
  const auto pack = place(3).pack;
  const auto lock = repo::RepoLock::acquire(*repository_, repo::LockKind::exclusive);
  repo::remove_locks(*repository_, true);
  const auto is_told = ::testing::Throws<Error>(Property(&Error::kind, ErrorKind::busy));
  const auto indexes = repository_->backend().list(store::FileType::index).size();
  EXPECT_THAT([&] { repair_packs(*repository_, {pack}, [](const repo::PackId&, ByteView) {}, lock.get(), progress_, {}); },
              is_told);
  EXPECT_TRUE(repository_->backend().stat({store::FileType::pack, pack.hex()}));
  EXPECT_GE(repository_->backend().list(store::FileType::index).size(), indexes);
  repository_->backend().remove({store::FileType::pack, pack.hex()});
  EXPECT_THAT([&] { repair_index(*repository_, {}, lock.get(), progress_, {}); }, is_told);
  EXPECT_THAT([&] { repair_snapshots(*repository_, repository_->snapshots(), {.forget = true}, lock.get(), progress_, {}); },
              is_told);
  EXPECT_GE(repository_->backend().list(store::FileType::snapshot).size(), 1U);
}

// A repository with parity, groups of 2+1 and two backups; what parity can heal must not be given up.
class GivingUp : public ::testing::Test {
 protected:
  GivingUp() {
    repo::Repository::CreateOptions options;
    options.scrypt = crypto::ScryptParameters{1024, 1, 1};
    repository_ =
        repo::Repository::create(parity::with_parity(store::open_memory(), {50, 2, 1}), "secret", options);
    for (const std::uint64_t seed : {1, 2})
      backups_.push_back(
          store_image(*repository_, random_bytes(6U << 20, seed), facts(), 256U << 10, small_packs()));
  }
  store::Backend& plain() { return parity::plain(repository_->backend()); }
  store::Handle some_pack() {
    const auto repo = indexed(*repository_);
    const auto volumes = view::stored_volumes(*repo, repository_->snapshots().front().snapshot);
    return {store::FileType::pack,
            repo->index().find(BlobType::data, volumes.at(0).parts.at(0).at(0))->pack.hex()};
  }
  void damage(const store::Handle& object) {
    Bytes bytes = plain().load_all(object);
    bytes.data()[30] ^= 1;
    const ByteView whole = bytes;
    plain().save(object, {&whole, 1}, store::Durability::now);
  }
  // As `check --repair` does.
  void heal(std::vector<store::Handle> lost = {}) {
    parity::RepairOptions options;
    EXPECT_TRUE(parity::repair(repository_->backend(), options, progress_, {}).ok());
    options.only = std::move(lost);
    EXPECT_TRUE(parity::repair(repository_->backend(), options, progress_, {}).ok());
  }
  void take_parity_away() {
    for (const auto type : {store::FileType::parity, store::FileType::parity_group})
      for (const store::FileInfo& file : plain().list(type)) plain().remove({type, file.name});
  }
  RepairSnapshotsReport repair_backups(RepairSnapshotsOptions options = {.forget = true}) {
    std::vector<std::string> damaged;
    return repair_snapshots(*repository_, repository_->snapshots(&damaged), options, nullptr, progress_, {});
  }
  RepairPacksReport give_up(const store::Handle& pack) {
    return repair_packs(*repository_, {*repo::PackId::parse(pack.name)}, [](const repo::PackId&, ByteView) {},
                        nullptr, progress_, {});
  }

  std::unique_ptr<repo::Repository> repository_;
  std::vector<repo::SnapshotId> backups_;
  SilentProgress progress_;
};

auto refuses_for_parity() {
  return ::testing::Throws<Error>(AllOf(Property(&Error::kind, ErrorKind::refused),
                                        Property(&Error::hint, HasSubstr("respaldo check --repair"))));
}

TEST_F(GivingUp, a_damaged_backup_that_parity_heals_is_not_removed) {
  const store::Handle object{store::FileType::snapshot, backups_[0].hex()};
  damage(object);
  for (const bool dry_run : {true, false})
    EXPECT_THAT([&] { repair_backups({.forget = true, .dry_run = dry_run}); }, refuses_for_parity());
  EXPECT_TRUE(plain().stat(object));
  EXPECT_TRUE(plain().stat(parity::sidecar_of(object)));
  heal();
  EXPECT_THAT(repair_backups().unreadable_files, IsEmpty());
  EXPECT_THAT(repository_->snapshots(), SizeIs(2));
  damage(object);
  take_parity_away();
  EXPECT_THAT(repair_backups().unreadable_files, SizeIs(1));
  EXPECT_THAT(repository_->snapshots(), SizeIs(1));
}

TEST_F(GivingUp, a_damaged_backup_that_was_not_named_stays) {
  take_parity_away();
  damage({store::FileType::snapshot, backups_[0].hex()});
  EXPECT_THAT(repair_backups({.forget = true, .forget_unreadable = false}).unreadable_files, SizeIs(1));
  EXPECT_THAT(plain().list(store::FileType::snapshot), SizeIs(2));
}

TEST_F(GivingUp, a_lost_pack_that_parity_brings_back_costs_no_backup_anything) {
  const store::Handle pack = some_pack();
  plain().remove(pack);
  EXPECT_THAT([&] { repair_backups(); }, refuses_for_parity());
  EXPECT_THAT([&] { repair_index(*repository_, {}, nullptr, progress_, {}); }, refuses_for_parity());
  EXPECT_THAT(
      [&] { prune(*repository_, {}, nullptr, progress_, {}); },
      ::testing::Throws<Error>(Property(&Error::hint, ::testing::StartsWith("`respaldo check --repair`"))));
  heal({pack});
  EXPECT_THAT(repair_backups().backups, IsEmpty());
  EXPECT_FALSE(repair_index(*repository_, {}, nullptr, progress_, {}).changed());
  take_parity_away();
  plain().remove(pack);
  EXPECT_THAT(repair_backups().backups, SizeIs(1));
  EXPECT_TRUE(repair_index(*repository_, {}, nullptr, progress_, {}).changed());
}

TEST_F(GivingUp, a_damaged_tree_that_parity_heals_leaves_no_empty_folder) {
  const repo::BlobId root = repository_->snapshots().front().snapshot.tree;
  const repo::BlobLocation place = *indexed(*repository_)->index().find(BlobType::tree, root);
  const store::Handle pack{store::FileType::pack, place.pack.hex()};
  Bytes bytes = plain().load_all(pack);
  bytes.data()[place.offset + 20] ^= 1;
  const ByteView whole = bytes;
  plain().save(pack, {&whole, 1}, store::Durability::now);
  EXPECT_THAT([&] { repair_backups(); }, refuses_for_parity());
  heal();
  EXPECT_THAT(repair_backups().backups, IsEmpty());
}

TEST_F(GivingUp, a_damaged_pack_that_parity_heals_is_not_salvaged) {
  const store::Handle pack = some_pack();
  damage(pack);
  EXPECT_THAT([&] { give_up(pack); }, refuses_for_parity());
  EXPECT_TRUE(plain().stat(pack));
  take_parity_away();
  EXPECT_EQ(give_up(pack).lost.size(), 1U);
}

TEST_F(GivingUp, a_damaged_index_leads_to_healing) {
  damage({store::FileType::index, plain().list(store::FileType::index).at(0).name});
  const auto leads_there =
      ::testing::Throws<Error>(Property(&Error::hint, ::testing::StartsWith("`respaldo check --repair`")));
  EXPECT_THAT([&] { repository_->load_index(progress_); }, leads_there);
  EXPECT_THAT([&] { repository_->load_stored_index(progress_); }, leads_there);
  EXPECT_THAT([&] { prune(*repository_, {}, nullptr, progress_, {}); }, leads_there);
  EXPECT_THAT([&] { repair_backups(); }, leads_there);
  EXPECT_THAT([&] { repair_index(*repository_, {}, nullptr, progress_, {}); }, refuses_for_parity());
  heal();
  EXPECT_FALSE(repair_index(*repository_, {}, nullptr, progress_, {}).changed());
}

TEST_F(GivingUp, an_index_that_parity_knows_comes_back_before_a_backup_is_given_up) {
  const store::Handle index{store::FileType::index, plain().list(store::FileType::index).at(0).name};
  plain().remove(index);
  EXPECT_THAT([&] { repair_backups(); },
              ::testing::Throws<Error>(
                  Property(&Error::hint, HasSubstr("parity restore " + index.name.substr(0, 8)))));
  heal({index});
  EXPECT_THAT(repair_backups().backups, IsEmpty());
}

// What a run that was killed leaves: the sidecar is there, what it was made for is not.
TEST_F(GivingUp, a_killed_run_keeps_nothing_from_being_repaired_or_pruned) {
  for (const store::FileType type : {store::FileType::index, store::FileType::pack}) {
    const Bytes never_stored = random_bytes(1000, static_cast<std::uint64_t>(type));
    const store::Handle object{type, to_hex(crypto::sha256(never_stored))};
    const Bytes sidecar = parity::make_sidecar(object, never_stored, {50, 2, 1});
    const ByteView view = sidecar;
    plain().save(parity::sidecar_of(object), {&view, 1}, store::Durability::now);
  }
  prune(*repository_, {}, nullptr, progress_, {});
  EXPECT_FALSE(repair_index(*repository_, {}, nullptr, progress_, {}).changed());
  EXPECT_THAT(repair_backups().backups, IsEmpty());
  // Only where blobs are missing that nobody tells of may an index be what is missing.
  plain().remove({store::FileType::index, plain().list(store::FileType::index).at(0).name});
  EXPECT_THAT([&] { repair_backups(); },
              ::testing::Throws<Error>(AllOf(Property(&Error::kind, ErrorKind::refused),
                                             Property(&Error::hint, HasSubstr("`respaldo parity update`")))));
  parity::update(repository_->backend(), {.named = named_packs(*repository_, {})}, progress_, {});
  EXPECT_THAT(repair_backups().backups, Not(IsEmpty()));
}

}  // namespace
}  // namespace respaldo::care
