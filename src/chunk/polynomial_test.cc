#include "chunk/polynomial.h"

#include <gtest/gtest.h>

namespace respaldo::chunk {
namespace {

TEST(Polynomial, irreducible_ones_are_known) {
  EXPECT_TRUE(is_irreducible(0x3883229c0e9077));  // of a repository that restic made
  EXPECT_TRUE(is_irreducible(0x11b));             // AES's
  EXPECT_TRUE(is_irreducible(0b111));
}

TEST(Polynomial, products_are_not_irreducible) {
  EXPECT_FALSE(is_irreducible(0x3883229c0e9076));  // divisible by x
  EXPECT_FALSE(is_irreducible(0b101));             // (x + 1)^2
  EXPECT_FALSE(is_irreducible(0b110011));          // (x + 1) times something
  EXPECT_FALSE(is_irreducible(0));
  EXPECT_FALSE(is_irreducible(1));
}

TEST(Polynomial, random_bits_give_one_soon) {
  int found = 0;
  for (std::uint64_t i = 1; i <= 2000; ++i)
    if (const Polynomial p = polynomial_from(i * 0x9e3779b97f4a7c15ULL); p != 0) {
      EXPECT_EQ(p >> 53, 1U);
      ++found;
    }
  EXPECT_GT(found, 20);  // about one in 26 with both end bits set
}

}  // namespace
}  // namespace respaldo::chunk
