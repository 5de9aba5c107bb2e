#include "parity/erasure_code.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "testing/temp.h"

namespace respaldo::parity {
namespace {

struct Shards {
  std::vector<Bytes> data, parity;
  std::vector<std::uint8_t*> columns, rows;

  Shards(unsigned count, unsigned parity_count, std::size_t length, std::uint64_t seed) {
    for (unsigned i = 0; i < count; ++i) data.push_back(testing::random_bytes(length, seed + i));
    for (unsigned i = 0; i < parity_count; ++i) parity.push_back(Bytes::zeroed(length));
    for (Bytes& one : data) columns.push_back(one.data());
    for (Bytes& one : parity) rows.push_back(one.data());
  }
  std::vector<const std::uint8_t*> sources() const { return {columns.begin(), columns.end()}; }
  std::vector<const std::uint8_t*> parities() const { return {rows.begin(), rows.end()}; }
};

bool same(ByteView a, ByteView b) { return std::ranges::equal(a, b); }

TEST(ErasureCode, one_row_is_plain_xor) {
  Shards shards(5, 1, 100, 1);
  ErasureCode(5, 1).encode(shards.sources(), shards.rows, 100);
  for (std::size_t i = 0; i < 100; ++i) {
    std::uint8_t sum = 0;
    for (const Bytes& data : shards.data) sum ^= data.data()[i];
    ASSERT_EQ(shards.parity[0].data()[i], sum);
  }
}

TEST(ErasureCode, any_losses_up_to_the_rows_come_back) {
  std::mt19937 generator(7);
  const unsigned sizes[][2] = {{1, 1}, {2, 2}, {7, 3}, {100, 5}, {200, 10}, {250, 5}, {16, 16}, {127, 127}};
  for (const auto& [columns, rows] : sizes) {
    for (const std::size_t length : {64U, 512U, 1000U, 4096U}) {
      Shards shards(columns, rows, length, columns * 1000);
      const ErasureCode code(columns, rows);
      code.encode(shards.sources(), shards.rows, length);
      std::vector<unsigned> all_columns(columns), all_rows(rows);
      std::iota(all_columns.begin(), all_columns.end(), 0);
      std::iota(all_rows.begin(), all_rows.end(), 0);
      std::ranges::shuffle(all_columns, generator);
      std::ranges::shuffle(all_rows, generator);
      const unsigned losses = 1 + static_cast<unsigned>(generator() % std::min(columns, rows));
      const std::vector<unsigned> lost(all_columns.begin(), all_columns.begin() + losses);
      std::vector<Bytes> before;
      for (const unsigned column : lost) {
        before.push_back(shards.data[column].clone());
        std::ranges::fill(shards.data[column].span(), 0xEE);
      }
      const auto rebuild = Rebuild::plan(code, lost, all_rows);
      ASSERT_TRUE(rebuild);
      rebuild->run(shards.columns, shards.parities(), length);
      for (unsigned i = 0; i < losses; ++i) ASSERT_TRUE(same(shards.data[lost[i]], before[i]));
    }
  }
}

TEST(ErasureCode, columns_added_one_by_one_in_any_order_give_the_same_parity_and_can_be_taken_out) {
  Shards shards(9, 3, 5000, 3), slowly(9, 3, 5000, 3), without(8, 3, 5000, 3);
  const ErasureCode code(9, 3);
  code.encode(shards.sources(), shards.rows, 5000);
  for (const unsigned column : {4U, 0U, 8U, 1U, 7U, 2U, 3U, 6U, 5U})
    code.add(column, slowly.data[column], slowly.rows);
  for (unsigned row = 0; row < 3; ++row) EXPECT_TRUE(same(shards.parity[row], slowly.parity[row]));
  code.add(8, slowly.data[8], slowly.rows);
  ErasureCode(8, 3).encode(without.sources(), without.rows, 5000);
  for (unsigned row = 0; row < 3; ++row) EXPECT_TRUE(same(without.parity[row], slowly.parity[row]));
}

TEST(ErasureCode, a_column_may_be_shorter_than_the_parity_at_any_length) {
  const ErasureCode code(4, 2);
  for (std::size_t length = 1; length < 300; length += 7) {
    Shards full(4, 2, 512, 9), cut(4, 2, 512, 9);
    std::fill(full.data[2].data() + length, full.data[2].data() + 512, 0);
    code.add(2, full.data[2], full.rows);
    code.add(2, cut.data[2].view(0, length), cut.rows);
    for (unsigned row = 0; row < 2; ++row) ASSERT_TRUE(same(full.parity[row], cut.parity[row])) << length;
  }
}

TEST(ErasureCode, impossible_plans_are_refused) {
  const ErasureCode code(4, 2);
  EXPECT_FALSE(Rebuild::plan(code, {}, {0, 1}));
  EXPECT_FALSE(Rebuild::plan(code, {0, 1, 2}, {0, 1}));
  EXPECT_FALSE(Rebuild::plan(code, {4}, {0}));
  EXPECT_FALSE(Rebuild::plan(code, {1}, {2}));
  EXPECT_FALSE(Rebuild::plan(code, {1, 1}, {0, 1}));
}

}  // namespace
}  // namespace respaldo::parity
