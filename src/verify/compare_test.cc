#include "verify/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "block/file_device.h"
#include "testing/temp.h"

namespace respaldo::verify {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Compare, tells_the_ranges_that_differ) {
  constexpr std::size_t kSize = (9U << 20) + 1000;
  Bytes a = testing::random_bytes(kSize, 1);
  std::memset(a.data() + (5U << 20), 0, 8192);
  Bytes b = a.clone();
  b.data()[10000] ^= 1;
  // Over the border of two pieces.
  b.data()[(4U << 20) - 1] ^= 1;
  b.data()[4U << 20] ^= 1;
  b.data()[(5U << 20) + 5000] = 7;
  b.data()[kSize - 1] ^= 1;
  const block::MemoryDevice image(a.clone(), "image"), device(b.clone(), "device");
  SilentProgress progress;
  for (const unsigned threads : {1U, 3U}) {
    ExtentSet free;
    free.add({(5U << 20) + 4096, 1024});
    const Comparison result = compare(image, device, free, threads, progress, {});
    EXPECT_EQ(result.compared, kSize);
    EXPECT_THAT(result.differing, ElementsAre(Extent{8192, 4096}, Extent{(4U << 20) - 4096, 8192},
                                              Extent{9U << 20, 1000}));
    EXPECT_THAT(result.zero_in_image, ElementsAre(Extent{(5U << 20) + 4096, 4096}));
    EXPECT_EQ(result.differing_bytes, 4096U + 8192 + 1000);
  }
  EXPECT_THAT(compare(image, image, {}, 2, progress, {}).differing, IsEmpty());
  // Zeros for what is in use are a difference like any other.
  ExtentSet elsewhere;
  elsewhere.add({(5U << 20) + 5120, 3072});
  for (const ExtentSet& free : {ExtentSet(), elsewhere}) {
    const Comparison result = compare(image, device, free, 2, progress, {});
    EXPECT_THAT(result.zero_in_image, IsEmpty());
    EXPECT_EQ(result.differing_bytes, 4096U + 8192 + 4096 + 1000);
  }
  const block::MemoryDevice shorter(testing::random_bytes(100, 1), "shorter");
  EXPECT_THROW(compare(image, shorter, {}, 1, progress, {}), Error);
}

}  // namespace
}  // namespace respaldo::verify
