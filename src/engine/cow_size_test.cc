#include "engine/cow_size.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/units.h"

namespace respaldo::engine {
namespace {

constexpr std::uint64_t kExtent = 4 * kMiB;
CowSpace space(std::uint64_t origin, std::uint64_t free) { return {origin, 100 * kGiB, free, kExtent, 4096}; }
std::uint64_t automatic(const CowSpace& in, std::optional<std::uint64_t> expected = {}) {
  return new_cow_size(in, {}, expected, {});
}

TEST(Amount, takes_what_lvm2_takes) {
  using Of = Amount::Of;
  EXPECT_EQ(Amount::parse("10G", "--cow", Of::origin), Amount::bytes(10 * kGiB));
  EXPECT_EQ(Amount::parse("64", "--cow", Of::origin), Amount::bytes(64 * kMiB));
  EXPECT_EQ(Amount::parse("20%ORIGIN", "--cow", Of::free), (Amount{Of::origin, 20}));
  EXPECT_EQ(Amount::parse("100%free", "--cow", Of::origin), (Amount{Of::free, 100}));
  EXPECT_EQ(Amount::parse("5%", "--keep-free", Of::vg), (Amount{Of::vg, 5}));
  for (const char* bad : {"", "%", "x%", "101%", "20%PVS", "-1%", "1.5%", "10%%"})
    EXPECT_THROW((void)Amount::parse(bad, "--cow", Of::origin), Error) << bad;
  EXPECT_EQ((Amount{Of::vg, 100}).resolve({0, UINT64_MAX, 0, 0}), UINT64_MAX);
}

TEST(CowSize, without_history_it_is_a_fifth_of_the_origin) {
  EXPECT_EQ(automatic(space(10 * kGiB, 50 * kGiB)), 2 * kGiB);
}

TEST(CowSize, with_history_it_is_twice_what_was_needed) {
  EXPECT_EQ(automatic(space(10 * kGiB, 50 * kGiB), 500 * kMiB), 1000 * kMiB);
  EXPECT_EQ(automatic(space(10 * kGiB, 50 * kGiB), 1), 64 * kMiB);
}

TEST(CowSize, it_is_never_larger_than_can_be_used) {
  const CowSpace small = space(12 * kMiB, 50 * kGiB);
  EXPECT_EQ(automatic(small), largest_cow(small));
  EXPECT_LE(largest_cow(small), 16 * kMiB);
  EXPECT_EQ(new_cow_size(small, Amount::bytes(10 * kGiB), {}, {}), largest_cow(small));
}

TEST(CowSize, the_last_free_extents_stay_free) {
  const CowSpace tight = space(10 * kGiB, 1 * kGiB);
  EXPECT_EQ(automatic(tight), kGiB - kept_free(tight, {}));
  EXPECT_GT(kept_free(tight, {}), 0U);
  EXPECT_EQ(new_cow_size(tight, {}, {}, Amount::bytes(1000 * kMiB)), 24 * kMiB);
  EXPECT_EQ(new_cow_size(tight, {}, {}, Amount::bytes(2 * kGiB)), 0U);
  EXPECT_EQ(automatic(space(10 * kGiB, 0)), 0U);
}

TEST(CowSize, what_the_user_says_counts_in_whole_extents) {
  const CowSpace in = space(10 * kGiB, 2 * kGiB);
  EXPECT_EQ(new_cow_size(in, Amount::bytes(1), {}, {}), kExtent);
  EXPECT_EQ(new_cow_size(in, Amount{Amount::Of::free, 100}, {}, {}), 2 * kGiB);
  EXPECT_EQ(new_cow_size(in, Amount{Amount::Of::origin, 10}, {}, {}), kGiB);
  EXPECT_EQ(new_cow_size(in, Amount{Amount::Of::origin, 0}, {}, {}), kExtent);
}

TEST(CowGrowth, stops_at_what_is_useful_and_what_is_kept) {
  const CowSpace in = space(kGiB, kGiB);
  EXPECT_EQ(cow_growth(in, 100 * kMiB, 10 * kMiB, 0), 12 * kMiB);
  EXPECT_EQ(cow_growth(in, largest_cow(in), 10 * kMiB, 0), 0U);
  EXPECT_EQ(cow_growth(in, largest_cow(in) - kExtent, kGiB, 0), kExtent);
  EXPECT_EQ(cow_growth(in, 100 * kMiB, kGiB, kGiB - kExtent), kExtent);
  EXPECT_EQ(cow_growth(in, 100 * kMiB, kGiB, kGiB), 0U);
}

}  // namespace
}  // namespace respaldo::engine
