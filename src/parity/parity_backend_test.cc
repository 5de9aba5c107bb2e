#include "parity/parity_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "os/file.h"
#include "parity/group_builder.h"
#include "parity/repair.h"
#include "parity/sidecar.h"
#include "parity/store_test.h"
#include "parity/upkeep.h"
#include "store/forward.h"

namespace respaldo::parity {
namespace {

using store::FileType;
using store::Handle;
using testing::contents_of;
using ::testing::IsEmpty;
using testing::save_new;
using ::testing::SizeIs;

std::unique_ptr<ParityBackend> new_store(const Settings& settings) {
  auto store = with_parity(store::open_memory(), settings);
  store->create();
  return store;
}

std::vector<Handle> packs_of(store::Backend& store) {
  std::vector<Handle> packs;
  for (const store::FileInfo& file : store.list(FileType::pack)) packs.push_back({FileType::pack, file.name});
  return packs;
}

std::vector<Handle> lost_of(store::Backend& store, std::optional<FileType> type = {}) {
  SilentProgress silent;
  return lost_objects(store, type, silent, {});
}

std::size_t groups_of(store::Backend& store) { return store.list(FileType::parity_group).size(); }

// Every pack can be lost, one at a time, and comes back.
void expect_each_pack_comes_back(ParityBackend& store) {
  const auto good = contents_of(store);
  for (const Handle& pack : packs_of(store)) {
    store.plain().remove(pack);
    RepairOptions options;
    options.only = {pack};
    SilentProgress silent;
    const RepairReport report = repair(store, options, silent, {});
    ASSERT_TRUE(report.ok()) << report.items.front().message;
    ASSERT_EQ(contents_of(store), good);
  }
}

TEST(ParityBackend, everything_but_locks_gets_its_sidecar) {
  auto store = new_store({50, 0, 0});
  testing::fill(*store, 3);
  save_new(*store, FileType::lock, 100, 9);
  const Coverage coverage = look_at_coverage(*store);
  EXPECT_TRUE(coverage.complete(store->settings()));
  EXPECT_EQ(coverage.objects, 12U);
  EXPECT_EQ(store->list(FileType::parity).size(), 13U);  // and of the settings
}

// Tells what is saved in which order, and has no room for more than so many files.
class Filling final : public store::Forward {
 public:
  Filling(std::size_t room, std::vector<FileType>& saved)
      : Forward(store::open_memory()), room_(room), saved_(saved) {}
  void save(const Handle& handle, std::span<const ByteView> parts, store::Durability durability) override {
    if (saved_.size() == room_) throw Error(ErrorKind::no_space, "no space left");
    Forward::save(handle, parts, durability);
    saved_.push_back(handle.type);
  }

 private:
  const std::size_t room_;
  std::vector<FileType>& saved_;
};

TEST(ParityBackend, sidecars_come_first_but_those_of_backups) {
  std::vector<FileType> saved;
  const auto store = with_parity(std::make_unique<Filling>(100, saved), {50, 0, 0});
  for (const FileType type : {FileType::key, FileType::pack, FileType::index, FileType::snapshot})
    save_new(*store, type, 300, 1);
  EXPECT_THAT(
      saved, ::testing::ElementsAre(FileType::parity, FileType::key, FileType::parity, FileType::pack,
                                    FileType::parity, FileType::index, FileType::snapshot, FileType::parity));
}

TEST(ParityBackend, a_backup_that_could_not_be_stored_is_not_one_that_was_lost) {
  std::vector<FileType> saved;
  const auto store = with_parity(std::make_unique<Filling>(0, saved), {50, 0, 0});
  EXPECT_THROW(save_new(*store, FileType::snapshot, 300, 1), Error);
  EXPECT_THAT(lost_of(*store), IsEmpty());
}

TEST(ParityBackend, a_backup_whose_parity_could_not_be_stored_is_whole) {
  std::vector<FileType> saved;
  std::vector<std::string> warnings;
  auto memory = std::make_unique<Filling>(3, saved);
  save_settings(*memory, {50, 0, 0});
  const auto store = with_parity(std::move(memory), {50, 0, 0});
  store->warn_with([&](std::string_view text) { warnings.emplace_back(text); });
  const Handle snapshot = save_new(*store, FileType::snapshot, 300, 1);
  EXPECT_THAT(warnings, ::testing::ElementsAre(::testing::AllOf(
                            ::testing::StartsWith(snapshot.str() + " has no parity yet: no space left"),
                            ::testing::HasSubstr("`respaldo parity update`"))));
  EXPECT_THAT(lost_of(*store), IsEmpty());
  EXPECT_THAT(look_at_coverage(*store).without_parity, ::testing::ElementsAre(snapshot));
  saved.clear();
  SilentProgress silent;
  EXPECT_EQ(update(*store, {}, silent, {}).made, 1U);
  EXPECT_TRUE(look_at_coverage(*store).complete(store->settings()));
}

// A stop that comes when the backup is there, and its answer is not.
class StoppedBehind final : public store::Forward {
 public:
  using Forward::Forward;
  void save(const Handle& handle, std::span<const ByteView> parts, store::Durability durability) override {
    Forward::save(handle, parts, durability);
    if (handle.type == FileType::snapshot) throw Cancelled();
  }
};

TEST(ParityBackend, a_backup_that_a_stop_came_behind_has_parity) {
  auto memory = std::make_unique<StoppedBehind>(store::open_memory());
  save_settings(*memory, {50, 0, 0});
  const auto store = with_parity(std::move(memory), {50, 0, 0});
  EXPECT_THROW(save_new(*store, FileType::snapshot, 300, 1), Cancelled);
  EXPECT_EQ(store->list(FileType::snapshot).size(), 1U);
  EXPECT_THAT(look_at_coverage(*store).without_parity, IsEmpty());
}

TEST(ParityBackend, what_is_lost_is_told_by_its_type) {
  auto store = new_store({50, 3, 1});
  testing::fill(*store, 4);
  std::vector<Handle> lost;
  for (const FileType type : {FileType::key, FileType::snapshot, FileType::index, FileType::pack}) {
    lost.push_back({type, store->list(type).front().name});
    store->plain().remove(lost.back());
  }
  for (const Handle& object : lost) EXPECT_THAT(lost_of(*store, object.type), ::testing::ElementsAre(object));
  EXPECT_THAT(lost_of(*store), ::testing::UnorderedElementsAreArray(lost));
}

// Stops after so many sidecars, which take their time as on a far store.
class Far final : public store::Forward {
 public:
  Far(std::unique_ptr<store::Backend> below, int stop_at) : Forward(std::move(below)), stop_at_(stop_at) {}
  Bytes load(const Handle& handle, std::uint64_t offset, std::uint64_t length) override {
    const int at_once = ++now;
    for (int most = most_at_once; at_once > most && !most_at_once.compare_exchange_weak(most, at_once);) {
    }
    if (++loads == stop_at_) source.request_stop();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    --now;
    return Forward::load(handle, offset, length);
  }
  std::atomic<int> loads{0}, now{0}, most_at_once{0};
  std::stop_source source;

 private:
  const int stop_at_;
};

TEST(ParityBackend, what_is_lost_is_looked_for_in_parallel_and_can_be_stopped) {
  auto memory = store::open_memory();
  constexpr int kPacks = 100;
  for (unsigned i = 0; i < kPacks; ++i) {
    const Bytes pack = testing::random_bytes(100, i);
    const Handle object{FileType::pack, to_hex(crypto::sha256(pack))};
    testing::put(*memory, sidecar_of(object), make_sidecar(object, pack, {50, 0, 0}));
  }
  Far far(std::move(memory), 2 * kPacks + 10);
  SilentProgress silent;
  EXPECT_THAT(lost_objects(far, FileType::snapshot, silent, far.source.get_token()), IsEmpty());
  EXPECT_EQ(far.loads, kPacks);
  EXPECT_GT(far.most_at_once, 1);
  EXPECT_THAT(lost_objects(far, FileType::pack, silent, far.source.get_token()), SizeIs(kPacks));
  EXPECT_THROW(lost_objects(far, FileType::snapshot, silent, far.source.get_token()), Cancelled);
  EXPECT_LT(far.loads, 2 * kPacks + 40);
}

TEST(ParityBackend, what_is_removed_loses_its_parity_first) {
  auto store = new_store({50, 3, 1});
  testing::fill(*store, 7);
  for (const FileType type : {FileType::key, FileType::snapshot, FileType::index})
    store->remove({type, store->list(type).front().name});
  const auto packs = packs_of(*store);
  store->remove(packs[0]);
  store->remove_many(std::span(packs).subspan(3, 2));
  EXPECT_TRUE(look_at_coverage(*store).complete(store->settings()));
  expect_each_pack_comes_back(*store);
}

TEST(ParityBackend, groups_fill_up_over_several_runs) {
  const Settings settings{50, 4, 1};
  auto memory = with_parity(store::open_memory(), settings);
  memory->create();
  auto shared = std::move(memory);
  for (unsigned run = 0; run < 9; ++run) {
    // A new process: nothing is known but what is stored.
    GroupBuilder builder(shared->plain(), settings);
    const Bytes pack = testing::random_bytes(30000 + run * 5000, run);
    const Handle handle{FileType::pack, to_hex(crypto::sha256(pack))};
    testing::put(shared->plain(), handle, pack);
    builder.add(handle.name, pack);
    builder.flush();
    EXPECT_EQ(groups_of(*shared), run / 4 + 1);
  }
  SilentProgress silent;
  update(*shared, {}, silent, {});
  expect_each_pack_comes_back(*shared);
}

// A group of 4+1, and one of its packs zeroed beyond what its sidecar can bring back.
struct OneDamaged {
  OneDamaged() {
    for (unsigned i = 0; i < 4; ++i) packs.push_back(save_new(*store, FileType::pack, 200000, i));
    save_new(*store, FileType::index, 300, 9);
    good = as_text(store->load_all(packs[0]));
    zero(packs[0], 0, 100000);
    store->warn_with([this](std::string_view text) { warnings.emplace_back(text); });
  }
  void zero(const Handle& object, std::size_t offset, std::size_t length) {
    std::string bytes(as_text(store->load_all(object)));
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), length, '\0');
    testing::put(store->plain(), object, as_bytes(bytes));
  }
  Handle group() { return {FileType::parity_group, store->list(FileType::parity_group).at(0).name}; }
  std::string now() { return std::string(as_text(store->load_all(packs[0]))); }

  std::unique_ptr<ParityBackend> store = new_store({50, 4, 1});
  std::vector<Handle> packs;
  std::string good;
  std::vector<std::string> warnings;
};

TEST(ParityBackend, a_damaged_pack_is_healed_before_others_leave_its_group) {
  OneDamaged there;
  there.store->remove_many(std::span(there.packs).subspan(1, 2));
  EXPECT_EQ(there.now(), there.good);
  EXPECT_FALSE(there.store->stat(there.packs[1]));
  EXPECT_TRUE(look_at_coverage(*there.store).complete(there.store->settings()));
  EXPECT_THAT(there.warnings, IsEmpty());
  expect_each_pack_comes_back(*there.store);
}

TEST(ParityBackend, two_damaged_packs_of_a_group_keep_it_when_others_leave) {
  OneDamaged there;
  there.zero(there.packs[1], 0, 100000);
  const Bytes copy = testing::random_bytes(200000, 1);
  there.store->remove_many(std::span(there.packs).subspan(2, 2));
  EXPECT_TRUE(look_at_coverage(*there.store).complete(there.store->settings()));
  // One of them comes back from elsewhere.
  testing::put(there.store->plain(), there.packs[1], copy);
  SilentProgress silent;
  EXPECT_TRUE(repair(*there.store, {}, silent, {}).ok());
  EXPECT_EQ(there.now(), there.good);
}

TEST(ParityBackend, packs_that_a_damaged_one_may_still_need_stay) {
  OneDamaged there;
  // The group's own damage is where the pack's is.
  const auto head =
      load_group_head(there.store->plain(), {there.group().name, there.store->stat(there.group())->size});
  const Bytes whole = there.store->load_all(there.group());
  there.zero(there.group(), head->rows_offset(), 100000);
  const Handle group = there.group();
  there.store->remove_many(std::span(there.packs).subspan(1, 2));
  EXPECT_TRUE(there.store->stat(there.packs[1]));
  EXPECT_TRUE(there.store->stat(sidecar_of(there.packs[1])));
  EXPECT_TRUE(there.store->stat(group));
  ASSERT_THAT(there.warnings, SizeIs(2));
  EXPECT_THAT(there.warnings[0], ::testing::HasSubstr(there.packs[0].str()));
  testing::put(there.store->plain(), group, whole);
  there.store->remove_many(std::span(there.packs).subspan(1, 2));
  EXPECT_FALSE(there.store->stat(there.packs[1]));
  EXPECT_EQ(there.now(), there.good);
}

// A disk of so many bytes.
class Disk final : public store::Forward {
 public:
  Disk() : Forward(store::open_memory()) {}
  std::uint64_t room = UINT64_MAX;
  void save(const Handle& handle, std::span<const ByteView> parts, store::Durability durability) override {
    std::uint64_t size = used();
    for (const ByteView part : parts) size += part.size();
    if (size > room) throw Error(ErrorKind::no_space, "no space left");
    Forward::save(handle, parts, durability);
  }
  std::uint64_t used() {
    std::uint64_t bytes = 0;
    for (const FileType type : testing::kAllTypes)
      for (const store::FileInfo& file : list(type)) bytes += file.size;
    return bytes;
  }
};

struct FullDisk {
  FullDisk() {
    auto below = std::make_unique<Disk>();
    disk = below.get();
    store = with_parity(std::move(below), {50, 4, 1});
    store->create();
    for (unsigned i = 0; i < 8; ++i) packs.push_back(save_new(*store, FileType::pack, 100000 + 1000 * i, i));
    save_new(*store, FileType::index, 300, 9);
    store->warn_with([this](std::string_view text) { warnings.emplace_back(text); });
    store->ask_named_packs([] { return NamedPacks{.known = true}; });
    disk->room = disk->used() + 1000;
  }
  Disk* disk;
  std::unique_ptr<ParityBackend> store;
  std::vector<Handle> packs;
  std::vector<std::string> warnings;
};

TEST(ParityBackend, a_full_store_lets_packs_of_groups_go_and_protects_the_others_afterwards) {
  FullDisk there;
  const std::vector<Handle> going{there.packs[1], there.packs[6]};
  there.store->remove_many(going);
  for (const Handle& pack : going) EXPECT_FALSE(there.store->stat(pack));
  EXPECT_THAT(there.warnings, IsEmpty());
  EXPECT_TRUE(look_at_coverage(*there.store).complete(there.store->settings()));
  there.disk->room = UINT64_MAX;
  expect_each_pack_comes_back(*there.store);
}

TEST(ParityBackend, a_store_that_stays_full_tells_what_is_in_no_group) {
  FullDisk there;
  there.disk->room = 0;
  there.store->remove_many(std::span(there.packs).subspan(1, 1));
  EXPECT_FALSE(there.store->stat(there.packs[1]));
  EXPECT_THAT(there.warnings, ::testing::ElementsAre(::testing::AllOf(
                                  ::testing::StartsWith("3 packs are in no group"),
                                  ::testing::HasSubstr("`respaldo parity update`"))));
  EXPECT_EQ(groups_of(*there.store), 1U);
  EXPECT_THAT(look_at_coverage(*there.store).without_group, SizeIs(3));
  there.disk->room = UINT64_MAX;
  SilentProgress silent;
  update(*there.store, {}, silent, {});
  expect_each_pack_comes_back(*there.store);
}

TEST(ParityBackend, a_full_store_lets_nothing_go_that_a_damaged_pack_needs) {
  FullDisk there;
  std::string bytes(as_text(there.store->load_all(there.packs[0])));
  std::fill_n(bytes.begin(), 60000, '\0');
  there.disk->room = UINT64_MAX;
  testing::put(there.store->plain(), there.packs[0], as_bytes(bytes));
  there.disk->room = 0;
  there.store->remove_many(std::span(there.packs).subspan(1, 2));
  EXPECT_TRUE(there.store->stat(there.packs[1]));
  EXPECT_EQ(groups_of(*there.store), 2U);
  EXPECT_THAT(there.warnings, SizeIs(2));
  there.disk->room = UINT64_MAX;
  SilentProgress silent;
  EXPECT_TRUE(repair(*there.store, {}, silent, {}).ok());
}

TEST(ParityBackend, a_damaged_pack_can_be_given_up) {
  OneDamaged there;
  there.store->ask_named_packs([] { return NamedPacks{.known = true}; });
  there.zero(there.packs[1], 0, 100000);
  there.store->remove(there.packs[0]);
  EXPECT_FALSE(there.store->stat(there.packs[0]));
  there.store->remove(there.packs[1]);
  EXPECT_FALSE(there.store->stat(there.packs[1]));
  EXPECT_TRUE(look_at_coverage(*there.store).complete(there.store->settings()));
}

TEST(ParityBackend, an_index_is_stored_after_the_groups_of_its_packs) {
  auto store = new_store({50, 20, 1});
  for (unsigned i = 0; i < 5; ++i) save_new(*store, FileType::pack, 50000, i);
  EXPECT_EQ(groups_of(*store), 0U);
  save_new(*store, FileType::index, 500, 7);
  EXPECT_EQ(groups_of(*store), 1U);
  expect_each_pack_comes_back(*store);
}

TEST(ParityBackend, random_writing_and_removing_keeps_every_pack_safe) {
  std::mt19937_64 generator(3);
  for (unsigned round = 0; round < 15; ++round) {
    auto store = new_store({50, 2 + static_cast<std::uint32_t>(generator() % 5),
                            1 + static_cast<std::uint32_t>(generator() % 2)});
    for (unsigned step = 0; step < 12; ++step) {
      for (unsigned i = generator() % 4; i > 0; --i)
        save_new(*store, FileType::pack, 1 + generator() % 60000, generator());
      if (generator() % 2 == 0) save_new(*store, FileType::index, 300, generator());
      auto packs = packs_of(*store);
      std::ranges::shuffle(packs, generator);
      packs.resize(generator() % (packs.size() / 2 + 1));
      store->remove_many(packs);
    }
    save_new(*store, FileType::snapshot, 300, generator());
    const Coverage coverage = look_at_coverage(*store);
    EXPECT_TRUE(coverage.complete(store->settings()));
    expect_each_pack_comes_back(*store);
  }
}

NamedPacks all_named(store::Backend& backend) {
  NamedPacks named{.known = true};
  for (const Handle& pack : packs_of(backend)) named.packs.insert(pack.name);
  return named;
}

// Groups of 4+1 whose first has lost a pack.
struct OneLost {
  OneLost() {
    for (unsigned i = 0; i < 8; ++i) packs.push_back(save_new(*store, FileType::pack, 100000 + 1000 * i, i));
    save_new(*store, FileType::index, 300, 9);
    named = all_named(*store);
    good = as_text(store->load_all(packs[0]));
    store->plain().remove(packs[0]);
    store->warn_with([this](std::string_view text) { warnings.emplace_back(text); });
    store->ask_named_packs([this] { return named; });
  }
  bool comes_back() {
    SilentProgress silent;
    RepairOptions options;
    options.only = {packs[0]};
    return repair(*store, options, silent, {}).ok() && as_text(store->load_all(packs[0])) == good;
  }

  std::unique_ptr<ParityBackend> store = new_store({50, 4, 1});
  std::vector<Handle> packs;
  NamedPacks named;
  std::string good;
  std::vector<std::string> warnings;
};

TEST(ParityBackend, update_keeps_what_brings_a_lost_pack_back) {
  for (const Settings& settings :
       {Settings{50, 4, 1}, Settings{50, 3, 1}, Settings{50, 0, 0}, Settings{100, 4, 2}})
    for (const bool known : {true, false}) {
      OneLost there;
      save_settings(there.store->plain(), settings);
      const NamedPacks named = known ? there.named : NamedPacks();
      SilentProgress silent;
      for (unsigned round = 0; round < 2; ++round) {
        const UpdateReport report = update(*there.store, {.named = named}, silent, {});
        EXPECT_THAT(report.lost, ::testing::ElementsAre(there.packs[0]));
        EXPECT_EQ(report.groups_kept, 1U);
        EXPECT_EQ(report.removed, 0U);
      }
      EXPECT_TRUE(there.store->stat(sidecar_of(there.packs[0])));
      EXPECT_TRUE(there.comes_back());
      EXPECT_THAT(update(*there.store, {.named = named}, silent, {}).lost, IsEmpty());
      EXPECT_TRUE(look_at_coverage(*there.store).complete(settings));
    }
}

TEST(ParityBackend, a_lost_pack_is_told_apart_from_what_is_stale) {
  OneLost there;
  const Coverage coverage = look_at_coverage(*there.store, there.named);
  EXPECT_THAT(coverage.lost_packs, ::testing::ElementsAre(there.packs[0].name));
  EXPECT_THAT(coverage.stale, IsEmpty());
  EXPECT_THAT(coverage.stale_groups, IsEmpty());
  EXPECT_THAT(coverage.without_group, IsEmpty());
  EXPECT_FALSE(coverage.complete(there.store->settings()));
  EXPECT_THAT(look_at_coverage(*there.store).stale_groups, SizeIs(1));
}

TEST(ParityBackend, update_keeps_the_parity_of_what_was_cut_off_to_nothing) {
  OneLost there;
  testing::put(there.store->plain(), there.packs[0], {});
  const Handle snapshot = save_new(*there.store, FileType::snapshot, 300, 77);
  const std::string good(as_text(there.store->load_all(snapshot)));
  testing::put(there.store->plain(), snapshot, {});
  SilentProgress silent;
  const UpdateReport report = update(*there.store, {.named = there.named}, silent, {});
  EXPECT_THAT(report.damaged, ::testing::UnorderedElementsAre(there.packs[0], snapshot));
  EXPECT_EQ(report.removed, 0U);
  EXPECT_TRUE(there.comes_back());
  EXPECT_TRUE(repair(*there.store, {}, silent, {}).ok());
  EXPECT_EQ(as_text(there.store->load_all(snapshot)), good);
}

TEST(ParityBackend, a_lost_pack_is_brought_back_before_others_leave_its_group) {
  OneLost there;
  there.store->remove_many(std::span(there.packs).subspan(1, 2));
  EXPECT_EQ(as_text(there.store->load_all(there.packs[0])), there.good);
  EXPECT_THAT(there.warnings, IsEmpty());
  EXPECT_TRUE(look_at_coverage(*there.store, all_named(*there.store)).complete(there.store->settings()));
}

TEST(ParityBackend, what_another_program_removed_does_not_come_back_when_others_leave_its_group) {
  for (const bool known : {true, false}) {
    OneLost there;
    there.named.packs.erase(there.packs[0].name);
    there.named.known = known;
    there.store->remove_many(std::span(there.packs).subspan(1, 2));
    EXPECT_FALSE(there.store->stat(there.packs[0]));
    EXPECT_THAT(there.warnings, IsEmpty());
    EXPECT_EQ(there.comes_back(), !known);
  }
}

TEST(ParityBackend, the_group_of_a_lost_pack_stays_while_one_that_leaves_is_damaged) {
  OneLost there;
  const Bytes whole = there.store->load_all(there.packs[1]);
  testing::put(there.store->plain(), there.packs[1], as_bytes("nothing of it"));
  there.store->remove_many(std::span(there.packs).subspan(1, 2));
  EXPECT_FALSE(there.store->stat(there.packs[1]));
  EXPECT_TRUE(there.store->stat(there.packs[2])) << "it may still be needed";
  ASSERT_THAT(there.warnings, SizeIs(2));
  EXPECT_THAT(there.warnings[0], ::testing::HasSubstr("was lost"));
  testing::put(there.store->plain(), there.packs[1], whole);
  EXPECT_TRUE(there.comes_back());
}

TEST(ParityBackend, update_follows_what_another_program_did) {
  auto store = new_store({50, 4, 1});
  testing::fill(*store, 9);
  const auto packs = packs_of(*store);
  for (unsigned i = 0; i < 3; ++i) store->plain().remove(packs[i * 2]);
  store->plain().remove({FileType::snapshot, store->list(FileType::snapshot).front().name});
  for (unsigned i = 0; i < 3; ++i) save_new(store->plain(), FileType::pack, 70000, 500 + i);
  testing::put(store->plain(), {FileType::config, ""}, as_bytes("another configuration"));
  EXPECT_FALSE(look_at_coverage(*store).complete(store->settings()));
  SilentProgress silent;
  const UpdateReport report = update(*store, {.named = all_named(*store)}, silent, {});
  EXPECT_EQ(report.made, 4U);
  EXPECT_EQ(report.removed, 4U);
  EXPECT_THAT(report.damaged, IsEmpty());
  EXPECT_TRUE(look_at_coverage(*store).complete(store->settings()));
  expect_each_pack_comes_back(*store);
  const UpdateReport again = update(*store, {}, silent, {});
  EXPECT_EQ(again.made + again.removed + again.groups_made + again.groups_removed, 0U);
}

TEST(ParityBackend, update_removes_nothing_once_it_is_told_not_to) {
  auto store = new_store({50, 4, 1});
  testing::fill(*store, 9);
  store->plain().remove(packs_of(*store).front());
  const std::size_t sidecars = store->list(FileType::parity).size(), groups = groups_of(*store);
  SilentProgress silent;
  EXPECT_THROW(update(*store,
                      {.named = all_named(*store),
                       .before_removing = [] { throw Error(ErrorKind::busy, "the lock is gone"); }},
                      silent, {}),
               Error);
  EXPECT_EQ(store->list(FileType::parity).size(), sidecars);
  EXPECT_GE(groups_of(*store), groups);
}

TEST(ParityBackend, new_settings_are_followed_by_update) {
  auto store = new_store({50, 0, 0});
  testing::fill(*store, 6);
  SilentProgress silent;
  save_settings(store->plain(), {200, 3, 1});
  update(*store, {}, silent, {});
  EXPECT_TRUE(look_at_coverage(*store).complete({200, 3, 1}));
  expect_each_pack_comes_back(*store);
  save_settings(store->plain(), {50, 0, 0});
  update(*store, {}, silent, {});
  EXPECT_EQ(groups_of(*store), 0U);
  EXPECT_TRUE(look_at_coverage(*store).complete({50, 0, 0}));
}

TEST(ParityBackend, no_parity_is_made_of_damage) {
  auto store = new_store({50, 4, 1});
  testing::fill(*store, 4);
  const Handle pack = packs_of(*store).front();
  testing::put(store->plain(), pack, as_bytes("other bytes than its name says"));
  store->plain().remove(sidecar_of(pack));
  SilentProgress silent;
  EXPECT_THAT(update(*store, {}, silent, {}).damaged, ::testing::ElementsAre(pack));
  EXPECT_FALSE(store->stat(sidecar_of(pack)));
}

TEST(ParityBackend, update_keeps_the_group_that_may_heal_a_damaged_pack) {
  for (const Settings& settings : {Settings{50, 3, 1}, Settings{50, 0, 0}, Settings{50, 4, 2}}) {
    OneDamaged there;
    save_settings(there.store->plain(), settings);
    SilentProgress silent;
    const UpdateReport report = update(*there.store, {}, silent, {});
    EXPECT_THAT(report.damaged, ::testing::ElementsAre(there.packs[0]));
    EXPECT_EQ(report.groups_kept, 1U);
    EXPECT_TRUE(repair(*there.store, {}, silent, {}).ok());
    EXPECT_EQ(there.now(), there.good);
    EXPECT_EQ(update(*there.store, {}, silent, {}).groups_kept, 0U);
    EXPECT_TRUE(look_at_coverage(*there.store).complete(settings));
  }
}

TEST(ParityBackend, disabled_it_leaves_nothing) {
  auto store = new_store({50, 4, 1});
  testing::fill(*store, 4);
  disable(*store);
  EXPECT_THAT(store->list(FileType::parity), IsEmpty());
  EXPECT_THAT(store->list(FileType::parity_group), IsEmpty());
  EXPECT_FALSE(load_settings(*store));
}

// Stops before one of its changes, as a kill does.
class Stopping final : public store::Forward {
 public:
  Stopping(std::shared_ptr<store::Backend> below, int changes) : Forward(std::move(below)), left_(changes) {}
  void remove(const Handle& handle) override {
    if (left_-- == 0) throw Error(ErrorKind::io, "killed");
    Forward::remove(handle);
  }
  void remove_many(std::span<const Handle> handles) override {
    for (const Handle& handle : handles) remove(handle);
  }

 private:
  int left_;
};

TEST(ParityBackend, cut_off_while_it_is_disabled_it_is_on_or_off) {
  for (int changes = 0; changes < 5; ++changes) {
    const std::shared_ptr<store::Backend> memory = store::open_memory();
    {
      const auto store = with_parity(std::make_unique<store::Forward>(memory), {50, 4, 1});
      store->create();
      testing::fill(*store, 4);
    }
    Stopping stopping(memory, changes);
    EXPECT_THROW(disable(stopping), Error);
    const auto found = load_settings(*memory);
    EXPECT_EQ(found.has_value(), changes < 2) << changes;
    EXPECT_FALSE(found && found->damaged) << changes;
    EXPECT_EQ(is_left_behind(*memory), changes >= 2);
    disable(*memory);
    EXPECT_FALSE(load_settings(*memory) || is_left_behind(*memory));
  }
}

TEST(ParityBackend, a_folder_keeps_it_apart_from_what_restic_reads) {
  const os::TemporaryFolder folder;
  {
    auto store = with_parity(store::open_local(folder.path() / "repository"), {50, 2, 1});
    store->create();
    testing::fill(*store, 4);
  }
  const auto opened = open_with_parity(store::open_local(folder.path() / "repository"));
  ParityBackend* store = parity_of(*opened);
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->settings(), (Settings{50, 2, 1}));
  EXPECT_TRUE(look_at_coverage(*store).complete(store->settings()));
  EXPECT_TRUE(std::filesystem::is_regular_file(folder.path() / "repository/parity/settings"));
  EXPECT_TRUE(std::filesystem::is_directory(folder.path() / "repository/parity/groups"));
  expect_each_pack_comes_back(*store);
}

TEST(LocalBackend, reads_past_the_page_cache_what_was_written) {
  const os::TemporaryFolder folder;
  const auto store = store::open_local(folder.path() / "repository");
  store->create();
  for (const std::size_t size : {0U, 1U, 512U, 4096U, 8704U, (4U << 20) - 1, 4U << 20, (9U << 20) + 77}) {
    const Bytes bytes = testing::random_bytes(size, size);
    const Handle handle{FileType::pack, to_hex(crypto::sha256(bytes))};
    const ByteView parts[] = {bytes.view(0, size / 3), bytes.view(size / 3, size - size / 3)};
    store->save(handle, parts, store::Durability::proven);
    std::string read;
    store->read_from_medium(handle, [&](ByteView piece) { read += as_text(piece); });
    EXPECT_TRUE(read == as_text(bytes)) << size;
  }
}

}  // namespace
}  // namespace respaldo::parity
