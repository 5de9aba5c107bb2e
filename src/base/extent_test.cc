#include "base/extent.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace respaldo {
namespace {

TEST(Extent, overlap_is_what_both_have) {
  EXPECT_EQ(intersect({0, 10}, {5, 10}), (Extent{5, 5}));
  EXPECT_EQ(intersect({5, 10}, {0, 10}), (Extent{5, 5}));
  EXPECT_EQ(intersect({0, 100}, {20, 30}), (Extent{20, 30}));
  EXPECT_TRUE(intersect({0, 10}, {10, 10}).empty());
  EXPECT_TRUE(intersect({0, 10}, {50, 10}).empty());
}

TEST(Extent, a_range_holds_its_first_byte_and_not_its_end) {
  const Extent extent{10, 5};
  EXPECT_FALSE(extent.contains(9));
  EXPECT_TRUE(extent.contains(10));
  EXPECT_TRUE(extent.contains(14));
  EXPECT_FALSE(extent.contains(15));
  EXPECT_FALSE((Extent{10, 0}).contains(10));
}

TEST(ExtentSet, adding_touching_ranges_merges_them) {
  EXPECT_EQ((ExtentSet{{0, 10}, {10, 10}}).to_string(), "[0,20)");
  EXPECT_EQ((ExtentSet{{10, 10}, {0, 10}}).to_string(), "[0,20)");
}

TEST(ExtentSet, adding_bridges_a_gap) {
  ExtentSet set{{0, 10}, {20, 10}, {40, 10}};
  set.add({5, 30});
  EXPECT_EQ(set.to_string(), "[0,35) [40,50)");
  set.add({35, 5});
  EXPECT_EQ(set.to_string(), "[0,50)");
}

TEST(ExtentSet, empty_ranges_change_nothing) {
  ExtentSet set{{0, 10}};
  set.add({100, 0});
  set.remove({5, 0});
  EXPECT_EQ(set.to_string(), "[0,10)");
  EXPECT_TRUE(set.contains(Extent{50, 0}));
  EXPECT_FALSE(set.intersects({5, 0}));
}

TEST(ExtentSet, removing_splits_and_trims) {
  ExtentSet set{{0, 100}};
  set.remove({40, 20});
  EXPECT_EQ(set.to_string(), "[0,40) [60,100)");
  set.remove({30, 50});
  EXPECT_EQ(set.to_string(), "[0,30) [80,100)");
  set.remove({0, 100});
  EXPECT_TRUE(set.empty());
}

TEST(ExtentSet, growing_to_units_is_cut_at_the_limit) {
  EXPECT_EQ((ExtentSet{{10, 1}, {4090, 10}, {9000, 500}}).aligned_out(4096, 9500).to_string(), "[0,9500)");
  EXPECT_EQ((ExtentSet{{10, 1}, {9000, 10}}).aligned_out(4096, 20000).to_string(), "[0,4096) [8192,12288)");
}

TEST(ExtentSet, growing_at_the_end_of_the_number_range_does_not_wrap) {
  constexpr std::uint64_t kMost = ~std::uint64_t{0};
  EXPECT_EQ((ExtentSet{{kMost - 10, 10}}).aligned_out(4096, kMost).total(), 4095U);
}

// Every operation against sets of single bytes, which cannot be wrong in the same way.
class Model {
 public:
  static constexpr std::uint64_t kSpace = 64;
  explicit Model(std::uint64_t seed) : random_(seed) {}
  Extent any() {
    const std::uint64_t offset = random_() % kSpace;
    return {offset, random_() % (kSpace - offset + 1)};
  }
  void change(ExtentSet& set, std::set<std::uint64_t>& bytes) {
    const Extent extent = any();
    const bool adds = random_() % 3 != 0;
    adds ? set.add(extent) : set.remove(extent);
    for (std::uint64_t at = extent.offset; at < extent.end(); ++at) {
      if (adds) {
        bytes.insert(at);
      } else {
        bytes.erase(at);
      }
    }
  }

 private:
  std::mt19937_64 random_;
};

std::set<std::uint64_t> bytes_of(const ExtentSet& set) {
  std::set<std::uint64_t> bytes;
  for (const Extent& extent : set.extents())
    for (std::uint64_t at = extent.offset; at < extent.end(); ++at) bytes.insert(at);
  return bytes;
}

bool is_canonical(const ExtentSet& set) {
  std::uint64_t free_from = 0;
  for (const Extent& extent : set.extents()) {
    if (extent.empty() || extent.offset < free_from) return false;
    free_from = extent.end() + 1;  // a gap of at least one byte
  }
  return true;
}

TEST(ExtentSet, algebra_agrees_with_sets_of_bytes) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Model model(seed);
    ExtentSet a, b;
    std::set<std::uint64_t> a_bytes, b_bytes;
    for (int step = 0; step < 12; ++step) {
      model.change(a, a_bytes);
      model.change(b, b_bytes);
      ASSERT_EQ(bytes_of(a), a_bytes);
      ASSERT_EQ(a.total(), a_bytes.size());
      const Extent bounds = model.any();
      std::set<std::uint64_t> both, either = a_bytes, only_a, inside, outside;
      either.insert(b_bytes.begin(), b_bytes.end());
      for (std::uint64_t at : a_bytes) {
        (b_bytes.contains(at) ? both : only_a).insert(at);
        if (bounds.contains(at)) inside.insert(at);
      }
      for (std::uint64_t at = bounds.offset; at < bounds.end(); ++at)
        if (!a_bytes.contains(at)) outside.insert(at);
      ASSERT_EQ(bytes_of(a.united(b)), either);
      ASSERT_EQ(bytes_of(a.intersected(b)), both);
      ASSERT_EQ(bytes_of(a.minus(b)), only_a);
      ASSERT_EQ(bytes_of(a.within(bounds)), inside);
      ASSERT_EQ(bytes_of(a.complement(bounds)), outside);
      ASSERT_EQ(a.contains(bounds), outside.empty());
      ASSERT_EQ(a.intersects(bounds), !inside.empty());
      for (const ExtentSet& set :
           {a, b, a.united(b), a.intersected(b), a.minus(b), a.within(bounds), a.complement(bounds)})
        ASSERT_TRUE(is_canonical(set)) << set.to_string();
      for (std::uint64_t at = 0; at < Model::kSpace; ++at) ASSERT_EQ(a.contains(at), a_bytes.contains(at));
    }
  }
}

}  // namespace
}  // namespace respaldo
