#include <gtest/gtest.h>

#include "dm/cow_store.h"
#include "dm/devices_test.h"
#include "dm/power_disk_test.h"
#include "dm/snapshot.h"

namespace respaldo::dm {
namespace {

constexpr std::uint64_t kChunk = 512;

// A snapshot with many exceptions in random order: its store, and what it shows.
struct Prepared {
  Bytes origin, cow, shown;
};
Prepared prepare(std::uint64_t seed, std::uint64_t size) {
  std::mt19937_64 random(seed);
  const auto origin = random_memory(size, seed);
  const auto cow = memory(testing::random_bytes(cow_store_maximum(size, kChunk), seed));
  format_cow_store(*cow, kChunk);
  SnapshotSet set(origin);
  set.add("s", cow, size, kChunk);
  for (int i = 0; i < 40; ++i) {
    const std::uint64_t offset = random() % size,
                        length = random() % std::min<std::uint64_t>(size - offset, 6000) + 1;
    const auto device = i % 3 == 0 ? set.snapshot_device("s") : set.origin_device();
    device->write_at(offset, testing::random_bytes(length, random()));
  }
  return {whole(*origin), whole(*cow), whole(*set.snapshot_device("s"))};
}

TEST(Merge, brings_the_snapshot_back_into_the_origin) {
  for (const std::uint64_t size : {300 * kChunk, 300 * kChunk + 512, 40 * kChunk}) {
    const Prepared prepared = prepare(size, size);
    const auto origin = memory(prepared.origin), cow = memory(prepared.cow);
    const std::uint64_t exceptions = CowStore::load(*cow, kChunk).status().exceptions;
    std::uint64_t merged = 0;
    merge_snapshot(*origin, *cow, kChunk, [&](std::uint64_t bytes) { merged += bytes; });
    EXPECT_TRUE(equal(whole(*origin), prepared.shown));
    const CowStatus status = CowStore::load(*cow, kChunk).status();
    EXPECT_EQ(status.exceptions, 0U);
    EXPECT_EQ(status.used, status.metadata);
    EXPECT_EQ(merged, exceptions * kChunk);
  }
}

TEST(Merge, a_merge_cut_off_anywhere_can_be_read_and_resumed) {
  for (std::uint64_t after = 0; after < 120; ++after) {
    const std::uint64_t size = 200 * kChunk;
    const Prepared prepared = prepare(7, size);
    std::mt19937_64 random(after);
    auto power = std::make_shared<PowerSupply>();
    power->after = after;
    const auto origin = std::make_shared<PowerDisk>(prepared.origin, power, "origin"),
               cow = std::make_shared<PowerDisk>(prepared.cow, power, "cow");
    bool finished = true;
    try {
      merge_snapshot(*origin, *cow, kChunk);
    } catch (const PowerCut&) {
      finished = false;
    }
    const auto origin_after = memory(origin->after_power_cut(random)),
               cow_after = memory(cow->after_power_cut(random));
    EXPECT_TRUE(
        equal(whole(*snapshot_merge_target(origin_after, cow_after, size, kChunk, "o")), prepared.shown));
    merge_snapshot(*origin_after, *cow_after, kChunk);
    EXPECT_TRUE(equal(whole(*origin_after), prepared.shown));
    if (finished) break;
    ASSERT_LT(after, 119U) << "the merge never finished";
  }
}

TEST(Merge, an_invalid_store_is_refused_and_a_fresh_one_is_done) {
  const auto origin = random_memory(64 * kChunk, 1);
  const Bytes before = whole(*origin);
  block::MemoryDevice fresh(64 * kChunk);
  merge_snapshot(*origin, fresh, kChunk);
  EXPECT_TRUE(equal(whole(*origin), before));
  CowStoreBuilder invalid(64 * kChunk, kChunk);
  store_le32(invalid.bytes.data() + 4, 0);
  EXPECT_EQ(error_kind([&] { merge_snapshot(*origin, *memory(invalid.bytes), kChunk); }),
            ErrorKind::overflow);
  CowStoreBuilder outside(64 * kChunk, kChunk);
  outside.entry(64, 2);
  EXPECT_EQ(error_kind([&] { merge_snapshot(*origin, *memory(outside.bytes), kChunk); }), ErrorKind::corrupt);
  EXPECT_TRUE(equal(whole(*origin), before));
}

}  // namespace
}  // namespace respaldo::dm
