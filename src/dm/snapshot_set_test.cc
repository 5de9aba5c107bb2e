#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "dm/cow_store.h"
#include "dm/devices_test.h"
#include "dm/power_disk_test.h"
#include "dm/snapshot.h"

namespace respaldo::dm {
namespace {

constexpr std::uint64_t kChunk = 4096;

std::shared_ptr<block::MemoryDevice> fresh_store(std::uint64_t chunks, std::uint64_t chunk = kChunk) {
  return std::make_shared<block::MemoryDevice>(chunks * chunk, "cow");
}

TEST(SnapshotSet, an_origin_write_saves_the_old_chunk_first) {
  const auto origin = random_memory(64 * kChunk, 1);
  const Bytes before = whole(*origin);
  SnapshotSet set(origin);
  const auto store = fresh_store(80);
  set.add("s", store, 64 * kChunk, kChunk);
  EXPECT_EQ(set.status("s").used, 2 * kChunk);
  set.origin_device()->write_at(10 * kChunk + 100, testing::random_bytes(kChunk, 2));
  EXPECT_TRUE(equal(whole(*set.snapshot_device("s")), before));
  EXPECT_FALSE(equal(whole(*set.origin_device()), before));
  EXPECT_EQ(set.status("s").exceptions, 2U);
  EXPECT_EQ(set.status("s").used, 4 * kChunk);
  const CowStore on_disk = CowStore::load(*store, 512);
  EXPECT_EQ(on_disk.lookup(10), 2U);
  EXPECT_EQ(on_disk.lookup(11), 3U);
}

TEST(SnapshotSet, a_write_past_the_snapshots_end_saves_nothing) {
  const auto origin = random_memory(64 * kChunk, 1);
  SnapshotSet set(origin);
  set.add("s", fresh_store(80), 32 * kChunk, kChunk);
  set.origin_device()->write_at(32 * kChunk, testing::random_bytes(8 * kChunk, 2));
  EXPECT_EQ(set.status("s").exceptions, 0U);
  set.origin_device()->write_at(31 * kChunk, testing::random_bytes(2 * kChunk, 2));
  EXPECT_EQ(set.status("s").exceptions, 1U);
}

TEST(SnapshotSet, writes_to_the_snapshot_stay_in_it) {
  const auto origin = random_memory(64 * kChunk + 512, 1);
  Bytes model = whole(*origin);
  const Bytes before = model.clone();
  SnapshotSet set(origin);
  set.add("s", fresh_store(90), origin->size(), kChunk);
  const auto snapshot = set.snapshot_device("s");
  for (const auto& [offset, length] : {std::pair<std::uint64_t, std::uint64_t>{100, 50},
                                       {4096, 8192},
                                       {10000, 20000},
                                       {64 * kChunk, 512},
                                       {10100, 5}}) {
    const Bytes bytes = testing::random_bytes(length, offset);
    snapshot->write_at(offset, bytes);
    std::memcpy(model.data() + offset, bytes.data(), length);
  }
  EXPECT_TRUE(equal(whole(*snapshot), model));
  EXPECT_TRUE(equal(whole(*origin), before));
  set.origin_device()->write_at(0, testing::random_bytes(origin->size(), 5));
  EXPECT_TRUE(equal(whole(*snapshot), model));
}

TEST(SnapshotSet, the_largest_store_survives_a_total_overwrite_and_one_chunk_less_does_not) {
  for (const std::uint64_t chunks : {259, 258}) {
    const auto origin = random_memory(256 * kChunk, 1);
    const Bytes before = whole(*origin);
    const auto store = fresh_store(chunks);
    SnapshotSet set(origin);
    set.add("s", store, origin->size(), kChunk);
    const auto snapshot = set.snapshot_device("s");
    const Bytes after = testing::random_bytes(origin->size(), 2);
    for (std::uint64_t at = 0; at < after.size(); at += 64 * 1024)
      set.origin_device()->write_at(at, after.view(at, 64 * 1024));
    EXPECT_TRUE(equal(whole(*origin), after));
    const bool survives = chunks == 259;
    EXPECT_EQ(set.status("s").valid, survives);
    EXPECT_EQ(CowStore::load(*store, kChunk).status().valid, survives);
    EXPECT_EQ(set.status("s").percent_x100(), 10000U);
    if (survives)
      EXPECT_TRUE(equal(whole(*snapshot), before));
    else
      EXPECT_EQ(error_kind([&] { whole(*snapshot); }), ErrorKind::overflow);
  }
}

TEST(SnapshotSet, an_overflow_kills_only_the_snapshot_that_is_full) {
  const auto origin = random_memory(128 * kChunk, 1);
  const Bytes before = whole(*origin);
  SnapshotSet set(origin);
  set.add("small", fresh_store(10), origin->size(), kChunk);
  set.add("large", fresh_store(140), origin->size(), kChunk);
  set.origin_device()->write_at(0, testing::random_bytes(64 * kChunk, 2));
  EXPECT_FALSE(set.status("small").valid);
  EXPECT_TRUE(set.status("large").valid);
  EXPECT_TRUE(equal(whole(*set.snapshot_device("large")), before));
  EXPECT_EQ(error_kind([&] { set.snapshot_device("small")->write_at(0, Bytes::zeroed(512)); }),
            ErrorKind::overflow);
}

TEST(SnapshotSet, a_write_to_a_full_snapshot_invalidates_it) {
  const auto origin = random_memory(64 * kChunk, 1);
  SnapshotSet set(origin);
  const auto store = fresh_store(4);
  set.add("s", store, origin->size(), kChunk);
  const auto snapshot = set.snapshot_device("s");
  snapshot->write_at(0, Bytes::zeroed(2 * kChunk));
  EXPECT_EQ(set.status("s").percent_x100(), 10000U);
  EXPECT_TRUE(set.status("s").valid);
  EXPECT_EQ(error_kind([&] { snapshot->write_at(5 * kChunk, Bytes::zeroed(1)); }), ErrorKind::overflow);
  EXPECT_FALSE(CowStore::load(*store, kChunk).status().valid);
}

// Takes no byte from `limit` on.
class Failing final : public block::WritableDevice {
 public:
  explicit Failing(std::shared_ptr<block::MemoryDevice> below) : below_(std::move(below)) {}
  std::uint64_t size() const override { return below_->size(); }
  std::string describe() const override { return "failing"; }
  void read_at(std::uint64_t offset, MutableBytes out) const override { below_->read_at(offset, out); }
  void write_at(std::uint64_t offset, ByteView bytes) override {
    if (offset >= limit) throw Error(ErrorKind::io, "write error");
    below_->write_at(offset, bytes);
  }
  void flush() override {
    if (limit == 0) throw Error(ErrorKind::io, "write error");
  }
  std::atomic<std::uint64_t> limit = UINT64_MAX;

 private:
  std::shared_ptr<block::MemoryDevice> below_;
};

TEST(SnapshotSet, a_store_that_fails_is_dropped_and_the_origin_goes_on) {
  const auto origin = random_memory(64 * kChunk, 1);
  const auto store = fresh_store(80);
  SnapshotSet set(origin);
  const auto failing = std::make_shared<Failing>(store);
  failing->limit = 2 * kChunk;
  set.add("s", failing, origin->size(), kChunk);
  const Bytes bytes = testing::random_bytes(kChunk, 2);
  set.origin_device()->write_at(0, bytes);
  EXPECT_TRUE(equal(block::read(*origin, 0, kChunk), bytes));
  EXPECT_FALSE(set.status("s").valid);
  EXPECT_FALSE(CowStore::load(*store, kChunk).status().valid);
}

TEST(SnapshotSet, the_origin_is_not_written_while_a_dead_store_would_pass_for_a_good_one) {
  const auto origin = random_memory(64 * kChunk, 1);
  const Bytes before = whole(*origin);
  const auto store = fresh_store(80);
  const auto failing = std::make_shared<Failing>(store);
  SnapshotSet set(origin);
  set.add("s", failing, origin->size(), kChunk);
  const auto device = set.origin_device();
  failing->limit = 0;
  const Bytes bytes = testing::random_bytes(kChunk, 2);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(error_kind([&] { device->write_at(0, bytes); }), ErrorKind::overflow);
  EXPECT_EQ(error_kind([&] { device->zero({8 * kChunk, kChunk}); }), ErrorKind::overflow);
  EXPECT_EQ(error_kind([&] { device->flush(); }), ErrorKind::overflow);
  EXPECT_FALSE(set.status("s").valid);
  EXPECT_TRUE(equal(whole(*origin), before));
  EXPECT_TRUE(CowStore::load(*store, kChunk).status().valid);
  failing->limit = UINT64_MAX;
  device->write_at(0, bytes);
  EXPECT_TRUE(equal(block::read(*origin, 0, kChunk), bytes));
  EXPECT_FALSE(CowStore::load(*store, kChunk).status().valid);
  device->flush();
}

TEST(SnapshotSet, a_dead_store_is_marked_by_a_flush_and_forgotten_by_a_removal) {
  const auto origin = random_memory(64 * kChunk, 1);
  auto power = std::make_shared<PowerSupply>();
  const auto store = std::make_shared<PowerDisk>(Bytes::zeroed(4 * kChunk), power, "cow");
  SnapshotSet set(origin);
  set.add("s", store, origin->size(), kChunk);
  const auto device = set.origin_device();
  power->operations = power->after = 0;
  EXPECT_EQ(error_kind([&] { device->write_at(0, Bytes::zeroed(8 * kChunk)); }), ErrorKind::overflow);
  power->after = UINT64_MAX;
  device->flush();
  EXPECT_FALSE(CowStore::load(*store, kChunk).status().valid);
  const auto second = std::make_shared<PowerDisk>(Bytes::zeroed(4 * kChunk), power, "cow");
  set.add("t", second, origin->size(), kChunk);
  power->operations = power->after = 0;
  EXPECT_EQ(error_kind([&] { device->write_at(0, Bytes::zeroed(8 * kChunk)); }), ErrorKind::overflow);
  set.remove("t");
  device->write_at(0, Bytes::zeroed(8 * kChunk));
}

TEST(SnapshotSet, a_store_that_grows_takes_more) {
  const auto origin = random_memory(64 * kChunk, 1);
  const Bytes before = whole(*origin);
  const auto large = fresh_store(70);
  SnapshotSet set(origin);
  set.add("s", block::slice(block::WritableDevicePtr(large), {0, 8 * kChunk}, "cow"), origin->size(), kChunk);
  set.origin_device()->write_at(0, Bytes::zeroed(6 * kChunk));
  EXPECT_EQ(set.status("s").percent_x100(), 10000U);
  set.grow("s", large);
  EXPECT_EQ(set.status("s").total, 70 * kChunk);
  set.origin_device()->write_at(0, Bytes::zeroed(64 * kChunk));
  EXPECT_TRUE(equal(whole(*set.snapshot_device("s")), before));
}

TEST(SnapshotSet, a_removed_snapshot_cannot_be_read_and_costs_nothing) {
  const auto origin = random_memory(64 * kChunk, 1);
  const auto store = fresh_store(70);
  SnapshotSet set(origin);
  set.add("s", store, origin->size(), kChunk);
  const auto snapshot = set.snapshot_device("s");
  set.remove("s");
  set.origin_device()->write_at(0, Bytes::zeroed(kChunk));
  EXPECT_EQ(CowStore::load(*store, kChunk).status().exceptions, 0U);
  EXPECT_EQ(error_kind([&] { whole(*snapshot); }), ErrorKind::not_found);
  EXPECT_EQ(error_kind([&] { set.status("s"); }), ErrorKind::not_found);
}

TEST(SnapshotSet, one_batch_flushes_twice_whatever_its_size) {
  auto power = std::make_shared<PowerSupply>();
  const auto origin = random_memory(1024 * kChunk, 1);
  const auto store = std::make_shared<PowerDisk>(Bytes::zeroed(1100 * kChunk), power, "cow");
  SnapshotSet set(origin);
  set.add("s", store, origin->size(), kChunk);
  power->operations = 0;
  set.origin_device()->write_at(0, Bytes::zeroed(1024 * kChunk));  // four areas
  // Five stretches of data between areas, four later areas, the first area, two flushes.
  EXPECT_LE(power->operations, 12U);
  EXPECT_EQ(set.status("s").exceptions, 1024U);
}

// An origin and its snapshots as plain bytes.
struct Model {
  Bytes origin;
  std::map<std::string, Bytes> snapshots;
};

void check(const Model& model, SnapshotSet& set,
           const std::map<std::string, std::shared_ptr<block::MemoryDevice>>& stores) {
  ASSERT_TRUE(equal(whole(*set.origin_device()), model.origin));
  for (const auto& [name, contents] : model.snapshots) {
    ASSERT_TRUE(equal(whole(*set.snapshot_device(name)), contents)) << name;
    const CowStore on_disk = CowStore::load(*stores.at(name), kChunk);
    const CowStatus status = set.status(name);
    ASSERT_EQ(on_disk.status().used, status.used);
    ASSERT_EQ(on_disk.status().metadata, status.metadata);
    ASSERT_EQ(on_disk.status().exceptions, status.exceptions);
    ASSERT_TRUE(on_disk.status().valid);
  }
}

TEST(SnapshotSet, random_work_agrees_with_plain_bytes) {
  for (const std::uint64_t seed : {1, 2, 3, 4, 5, 6}) {
    std::mt19937_64 random(seed);
    const std::uint64_t size = 200 * kChunk + (seed % 2) * 1536;
    const auto origin = random_memory(size, seed);
    Model model{whole(*origin), {}};
    std::map<std::string, std::shared_ptr<block::MemoryDevice>> stores;
    auto set = std::make_unique<SnapshotSet>(origin);
    std::uint64_t names = 0, overflows = 0;
    for (int step = 0; step < 300; ++step) {
      const std::uint64_t offset = random() % size,
                          length = random() % std::min<std::uint64_t>(size - offset, 40000) + 1;
      const unsigned what = random() % 20;
      if (what < 10) {
        const Bytes bytes = what == 0 ? Bytes::zeroed(length) : testing::random_bytes(length, random());
        if (what == 0)
          set->origin_device()->zero({offset, length});
        else
          set->origin_device()->write_at(offset, bytes);
        std::memcpy(model.origin.data() + offset, bytes.data(), length);
      } else if (what < 15 && !model.snapshots.empty()) {
        auto it = std::next(model.snapshots.begin(), static_cast<long>(random() % model.snapshots.size()));
        const Bytes bytes = testing::random_bytes(length, random());
        try {
          set->snapshot_device(it->first)->write_at(offset, bytes);
          std::memcpy(it->second.data() + offset, bytes.data(), length);
        } catch (const Error& error) {
          ASSERT_EQ(error.kind(), ErrorKind::overflow);
        }
      } else if (what < 17 && model.snapshots.size() < 4) {
        const std::uint64_t chunk = 512ULL << random() % 6;
        const std::string name = fmt::format("s{}", names++);
        const std::uint64_t store = cow_store_maximum(size, chunk) * (random() % 4 + 1) / 4;
        stores[name] = memory(testing::random_bytes(store, random()), name);
        format_cow_store(*stores[name], chunk);
        set->add(name, stores[name], size, 512);
        model.snapshots[name] = model.origin.clone();
      } else if (what == 17 && !model.snapshots.empty()) {
        const std::string name = model.snapshots.begin()->first;
        set->remove(name);
        model.snapshots.erase(name);
        stores.erase(name);
      } else {
        set = std::make_unique<SnapshotSet>(origin);
        for (const auto& [name, contents] : model.snapshots)
          set->add(name, stores[name], contents.size(), 512);
      }
      for (auto it = model.snapshots.begin(); it != model.snapshots.end();) {
        if (set->status(it->first).valid) {
          ++it;
          continue;
        }
        ++overflows;
        ASSERT_FALSE(CowStore::load(*stores[it->first], 512).status().valid);
        ASSERT_LT(stores[it->first]->size(), cow_store_maximum(size, set->status(it->first).chunk))
            << "cannot overflow";
        set->remove(it->first);
        it = model.snapshots.erase(it);
      }
      check(model, *set, stores);
      if (HasFatalFailure()) FAIL() << "seed " << seed << " step " << step;
    }
    EXPECT_GT(overflows, 0U) << "seed " << seed;
  }
}

TEST(SnapshotSet, power_may_fail_at_any_moment) {
  for (std::uint64_t round = 0; round < 400; ++round) {
    std::mt19937_64 random(round);
    const std::uint64_t chunk = round % 2 == 0 ? 512 : kChunk, size = 90 * chunk;
    auto power = std::make_shared<PowerSupply>();
    auto origin = std::make_shared<PowerDisk>(testing::random_bytes(size, round), power, "origin");
    const Bytes contents = whole(*origin);
    // Old data everywhere in the store: exceptions of a former life must never come back.
    auto garbage = memory(testing::random_bytes(cow_store_maximum(size, chunk), round + 1));
    format_cow_store(*garbage, chunk);
    auto cow = std::make_shared<PowerDisk>(whole(*garbage), power, "cow");
    for (int life = 0; life < 4; ++life) {
      SnapshotSet set(origin);
      set.add("s", cow, size, chunk);
      ASSERT_TRUE(equal(whole(*set.snapshot_device("s")), contents)) << "round " << round << " life " << life;
      power->operations = 0;
      power->after = random() % 60;
      try {
        for (int step = 0; step < 60; ++step) {
          const std::uint64_t offset = random() % size,
                              length = random() % std::min(size - offset, 40 * chunk) + 1;
          set.origin_device()->write_at(offset, testing::random_bytes(length, random()));
          if (random() % 4 == 0) set.origin_device()->flush();
        }
      } catch (const PowerCut&) {
      }
      power = std::make_shared<PowerSupply>();
      origin = std::make_shared<PowerDisk>(origin->after_power_cut(random), power, "origin");
      cow = std::make_shared<PowerDisk>(cow->after_power_cut(random), power, "cow");
      const auto reread = snapshot_target(origin, cow, size, chunk, "s");
      ASSERT_TRUE(equal(whole(*reread), contents)) << "round " << round << " life " << life;
    }
  }
}

TEST(SnapshotSet, readers_and_writers_on_many_threads_see_a_still_snapshot) {
  const std::uint64_t size = 600 * kChunk;
  const auto origin = random_memory(size, 1);
  const Bytes contents = whole(*origin);
  SnapshotSet set(origin);
  set.add("s", fresh_store(700), size, kChunk);
  std::atomic<int> writers = 4;
  std::atomic<bool> wrong = false;
  std::vector<std::jthread> threads;
  for (std::uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      const auto device = set.origin_device();
      for (int i = 0; i < 200; ++i) {
        const std::uint64_t offset = random() % size;
        device->write_at(
            offset, testing::random_bytes(random() % std::min<std::uint64_t>(size - offset, 30000) + 1, i));
      }
      --writers;
    });
  for (std::uint64_t t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t + 100);
      const auto device = set.snapshot_device("s");
      while (writers > 0) {
        const std::uint64_t offset = random() % size;
        const std::uint64_t length = random() % std::min<std::uint64_t>(size - offset, 60000);
        if (!equal(block::read(*device, offset, length), contents.view(offset, length))) wrong = true;
      }
    });
  threads.emplace_back([&] {
    for (int i = 0; writers > 0; ++i) {
      const std::string name = fmt::format("t{}", i);
      set.add(name, fresh_store(700), size, kChunk);
      const Bytes once = whole(*set.snapshot_device(name));
      std::this_thread::yield();
      if (!equal(whole(*set.snapshot_device(name)), once)) wrong = true;
      set.remove(name);
    }
  });
  threads.clear();
  EXPECT_FALSE(wrong);
  EXPECT_TRUE(equal(whole(*set.snapshot_device("s")), contents));
}

}  // namespace
}  // namespace respaldo::dm
