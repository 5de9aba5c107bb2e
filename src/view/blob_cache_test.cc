#include "view/blob_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/error.h"

namespace respaldo::view {
namespace {

repo::BlobId id_of(std::uint8_t number) {
  repo::BlobId id;
  id.bytes[0] = number;  // all in one shard
  return id;
}

TEST(BlobCache, keeps_what_was_used_last_within_its_bounds) {
  BlobCache cache(8 * 1000);  // 1000 bytes in each shard
  int loads = 0;
  const auto use = [&](std::uint8_t number) {
    cache.get(id_of(number), [&] {
      ++loads;
      return Bytes::zeroed(400);
    });
  };
  use(1);
  use(2);
  use(1);
  EXPECT_EQ(loads, 2);
  use(3);  // 2 goes
  EXPECT_LE(cache.bytes(), 1000U);
  use(1);
  EXPECT_EQ(loads, 3);
  use(2);
  EXPECT_EQ(loads, 4);
}

TEST(BlobCache, a_blob_larger_than_the_cache_is_given_all_the_same) {
  BlobCache cache(80);
  EXPECT_EQ(cache.get(id_of(1), [] { return Bytes::zeroed(4000); })->size(), 4000U);
}

TEST(BlobCache, a_failed_load_is_told_and_tried_again) {
  BlobCache cache(8000);
  EXPECT_THROW(cache.get(id_of(1), []() -> Bytes { throw Error(ErrorKind::io, "no"); }), Error);
  EXPECT_EQ(cache.get(id_of(1), [] { return Bytes::zeroed(5); })->size(), 5U);
}

TEST(BlobCache, readers_at_one_time_share_one_load) {
  BlobCache cache(8 << 20);
  std::atomic<int> loads = 0;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 8; ++i)
    readers.emplace_back([&] {
      const auto blob = cache.get(id_of(1), [&] {
        ++loads;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return Bytes::zeroed(100);
      });
      EXPECT_EQ(blob->size(), 100U);
    });
  readers.clear();
  EXPECT_EQ(loads, 1);
}

TEST(BlobCache, each_reader_gets_a_failure_of_its_own) {
  BlobCache cache(8 << 20);
  std::vector<std::jthread> readers;
  for (int i = 0; i < 8; ++i)
    readers.emplace_back([&] {
      try {
        in_context([] { return "reader"; },
                   [&] {
                     cache.get(id_of(1), []() -> Bytes {
                       std::this_thread::sleep_for(std::chrono::milliseconds(20));
                       throw Error(ErrorKind::corrupt, "damaged");
                     });
                   });
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Error& error) {
        EXPECT_STREQ(error.what(), "reader: damaged");
      }
    });
}

}  // namespace
}  // namespace respaldo::view
