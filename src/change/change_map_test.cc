#include "change/change_map.h"

#include <gtest/gtest.h>

#include <random>

#include "base/endian.h"
#include "base/error.h"
#include "block/file_device.h"
#include "dm/cow_store.h"
#include "testing/temp.h"

namespace respaldo::change {
namespace {

constexpr std::uint64_t kChunk = 4096;

std::shared_ptr<block::MemoryDevice> disk(std::uint64_t size, std::uint64_t seed) {
  return std::make_shared<block::MemoryDevice>(testing::random_bytes(size, seed), "disk");
}

TEST(ChangeMap, a_full_scan_calls_everything_changed) {
  const ChangeMap map = full_scan(10000);
  EXPECT_EQ(map.changed, (ExtentSet{{0, 10000}}));
  EXPECT_EQ(map.source, Source::full);
  EXPECT_TRUE(full_scan(0).changed.empty());
}

TEST(CowDelta, tells_the_chunks_that_were_written_to_origin_or_snapshot) {
  const std::uint64_t size = 100 * kChunk + 1000;  // the last chunk is cut off
  const auto origin = disk(size, 1);
  const auto store = std::make_shared<block::MemoryDevice>(200 * kChunk, "store");
  dm::SnapshotSet set(origin);
  set.add("base", store, size, kChunk);
  EXPECT_TRUE(cow_delta(*store, kChunk, size, "t").changed.empty());
  set.origin_device()->write_at(5 * kChunk + 7, testing::random_bytes(10, 1));
  set.origin_device()->write_at(7 * kChunk - 1, testing::random_bytes(2, 1));
  set.snapshot_device("base")->write_at(50 * kChunk, testing::random_bytes(1, 1));
  set.origin_device()->write_at(size - 1, testing::random_bytes(1, 1));
  const ChangeMap map = cow_delta(*store, kChunk, size, "token");
  EXPECT_EQ(map.changed, (ExtentSet{{5 * kChunk, 3 * kChunk}, {50 * kChunk, kChunk}, {100 * kChunk, 1000}}));
  EXPECT_EQ(map.source, Source::thick);
  EXPECT_EQ(map.token, "token");
  EXPECT_EQ(map.size, size);
  // A volume that is shorter now has no changes behind its end.
  EXPECT_EQ(cow_delta(*store, kChunk, 6 * kChunk, "t").changed, (ExtentSet{{5 * kChunk, kChunk}}));
  EXPECT_TRUE(cow_delta(*store, kChunk, 0, "t").changed.empty());
}

TEST(CowDelta, never_misses_a_byte) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    std::mt19937_64 random(seed);
    const std::uint64_t size = 64 * kChunk + random() % kChunk, chunk = kChunk << random() % 3;
    const auto origin = disk(size, seed);
    const Bytes before = block::read(*origin, 0, size);
    const auto store = std::make_shared<block::MemoryDevice>(100 * chunk, "store");
    dm::SnapshotSet set(origin);
    set.add("base", store, size, chunk);
    for (int i = 0; i < 20; ++i) {
      const std::uint64_t at = random() % size, length = std::min(random() % 9000 + 1, size - at);
      set.origin_device()->write_at(at, testing::random_bytes(length, random()));
    }
    const ChangeMap map = cow_delta(*store, chunk, size, "t");
    const Bytes after = block::read(*origin, 0, size);
    for (std::uint64_t i = 0; i < size; ++i)
      ASSERT_TRUE(before.data()[i] == after.data()[i] || map.changed.contains(i)) << seed << " " << i;
  }
}

TEST(CowDelta, a_dead_store_tells_nothing) {
  const auto origin = disk(100 * kChunk, 1);
  const auto store = std::make_shared<block::MemoryDevice>(8 * kChunk, "store");
  dm::SnapshotSet set(origin);
  set.add("base", store, origin->size(), kChunk);
  set.origin_device()->write_at(0, testing::random_bytes(20 * kChunk, 1));
  try {
    cow_delta(*store, kChunk, origin->size(), "t");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::overflow);
  }
}

}  // namespace
}  // namespace respaldo::change
