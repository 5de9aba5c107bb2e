#include "parity/sidecar.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <set>

#include "base/hex.h"
#include "testing/temp.h"

namespace respaldo::parity {
namespace {

using store::FileType;
using store::Handle;

Handle handle_of(FileType type, ByteView bytes) { return {type, to_hex(crypto::sha256(bytes))}; }

Sidecar sidecar_for(FileType type, ByteView bytes, const Settings& settings = {}) {
  auto sidecar = Sidecar::parse(make_sidecar(handle_of(type, bytes), bytes, settings));
  EXPECT_TRUE(sidecar);
  return std::move(*sidecar);
}

HealResult healed(const Sidecar& sidecar, Bytes bytes) {
  Reading reading;
  reading.bytes = std::move(bytes);
  return heal(sidecar, reading);
}

void expect_healed(const Sidecar& sidecar, ByteView object, Bytes damaged) {
  const HealResult result = healed(sidecar, std::move(damaged));
  ASSERT_TRUE(result.healed) << result.why_not;
  EXPECT_TRUE(std::ranges::equal(result.healed->view(), object));
}

TEST(Sidecar, the_checksum_is_crc_64_xz) { EXPECT_EQ(crc64(as_bytes("123456789")), 0x995dc9bbdf1939faULL); }

TEST(Sidecar, a_pack_costs_about_what_was_asked_for) {
  for (const unsigned permille : {20U, 50U, 100U, 500U, 1000U}) {
    const Geometry geometry = choose_geometry(FileType::pack, 16 << 20, {permille, 0, 0});
    EXPECT_TRUE(geometry.valid());
    EXPECT_NEAR(static_cast<double>(geometry.sidecar_size()) / (16 << 20), permille / 1000.0, 0.01);
  }
}

TEST(Sidecar, every_size_has_a_geometry) {
  for (const FileType type : {FileType::pack, FileType::index, FileType::snapshot})
    for (const std::uint64_t size : {1ULL, 63ULL, 512ULL, 4095ULL, 4096ULL, 4097ULL, 65536ULL, 65537ULL,
                                     409600ULL, 409601ULL, 5000000ULL, 128ULL << 20, 1ULL << 32})
      for (const unsigned permille : {10U, 50U, 1000U})
        EXPECT_TRUE(choose_geometry(type, size, {permille, 0, 0}).valid()) << size;
}

TEST(Sidecar, what_was_made_is_intact_and_describes_its_object) {
  for (const std::size_t size : {1U, 100U, 4096U, 4097U, 700000U}) {
    const Bytes object = testing::random_bytes(size, size);
    const Sidecar sidecar = sidecar_for(FileType::pack, object);
    EXPECT_TRUE(sidecar.intact());
    EXPECT_TRUE(sidecar.describes(object, crypto::sha256(object)));
    EXPECT_EQ(sidecar.header().type, ObjectType::pack);
  }
}

TEST(Sidecar, flips_zeros_truncation_and_extension_are_healed) {
  const Bytes object = testing::random_bytes(1000000, 5);  // 245 slices: 3 codewords of 82 columns, 4 rows
  const Sidecar sidecar = sidecar_for(FileType::pack, object);
  Bytes flipped = object.clone();
  flipped.data()[0] ^= 1;
  flipped.data()[500000] ^= 0x80;
  flipped.data()[999999] ^= 0xff;
  expect_healed(sidecar, object, std::move(flipped));
  // A burst over all codewords, up to all rows: 12 slices.
  Bytes burst = object.clone();
  std::memset(burst.data() + 8 * 4096, 0, 12 * 4096);
  expect_healed(sidecar, object, std::move(burst));
  Bytes cut = object.clone();
  cut.resize(1000000 - 11 * 4096);
  expect_healed(sidecar, object, std::move(cut));
  Bytes extended(1000123);
  std::memcpy(extended.data(), object.data(), object.size());
  std::memset(extended.data() + object.size(), 'x', 123);
  expect_healed(sidecar, object, std::move(extended));
}

TEST(Sidecar, beyond_the_rows_nothing_is_made_up_and_the_damage_is_told_exactly) {
  const Bytes object = testing::random_bytes(1000000, 5);
  const Sidecar sidecar = sidecar_for(FileType::pack, object);
  Bytes burst = object.clone();
  std::memset(burst.data() + 8 * 4096, 0, 13 * 4096);
  const HealResult result = healed(sidecar, std::move(burst));
  EXPECT_FALSE(result.healed);
  EXPECT_NE(result.why_not.find("1 of 3 codewords"), std::string::npos) << result.why_not;
  EXPECT_EQ(result.damaged, ExtentSet({{8 * 4096, 13 * 4096}}));
}

TEST(Sidecar, small_objects_come_back_out_of_it_alone) {
  for (const std::size_t size : {1U, 155U, 512U, 3000U, 65536U, 200000U}) {
    const Bytes object = testing::random_bytes(size, size);
    for (const FileType type : {FileType::index, FileType::snapshot, FileType::key})
      expect_healed(sidecar_for(type, object), object, Bytes());
  }
}

TEST(Sidecar, a_damaged_sidecar_still_heals_with_what_is_left_of_it) {
  const Bytes object = testing::random_bytes(1000000, 5);
  const Bytes whole = make_sidecar(handle_of(FileType::pack, object), object, {});
  const Geometry geometry = choose_geometry(FileType::pack, object.size(), {});
  const auto with = [&](std::function<void(Bytes&)> damage) {
    Bytes file = whole.clone();
    damage(file);
    auto sidecar = Sidecar::parse(std::move(file));
    ASSERT_TRUE(sidecar);
    EXPECT_FALSE(sidecar->intact());
    Bytes damaged = object.clone();
    damaged.data()[77777] ^= 1;
    expect_healed(*sidecar, object, std::move(damaged));
  };
  with([](Bytes& file) { std::memset(file.data(), 0, 128); });                      // first header
  with([](Bytes& file) { std::memset(file.data() + file.size() - 128, 0, 128); });  // second header
  with([&](Bytes& file) { std::memset(file.data() + 128, 0, geometry.table_size()); });
  with([&](Bytes& file) {
    std::memset(file.data() + geometry.second_table_offset(), 0, geometry.table_size());
  });
  with([&](Bytes& file) { std::memset(file.data() + geometry.parity_offset(), 0, 2 * 4096); });
  with([&](Bytes& file) { file.resize(geometry.second_table_offset()); });
  with([&](Bytes& file) {
    file.resize(file.size() + 5000);
    std::memset(file.data() + file.size() - 5000, 1, 5000);
  });
}

TEST(Sidecar, of_something_else_it_heals_nothing) {
  const Bytes object = testing::random_bytes(100000, 1), other = testing::random_bytes(100000, 2);
  EXPECT_FALSE(healed(sidecar_for(FileType::pack, object), other.clone()).healed);
}

TEST(Sidecar, random_damage_is_healed_exactly_when_no_codeword_lost_more_than_its_rows) {
  std::mt19937_64 generator(11);
  const Bytes object = testing::random_bytes(900001, 6);
  const Bytes file = make_sidecar(handle_of(FileType::pack, object), object, {});
  const Geometry geometry = choose_geometry(FileType::pack, object.size(), {});
  unsigned good = 0, bad = 0;
  for (unsigned round = 0; round < 300; ++round) {
    std::vector<unsigned> lost(geometry.codewords), lost_rows(geometry.codewords);
    Bytes damaged = object.clone(), damaged_file = file.clone();
    std::set<std::uint64_t> slices, parities;
    for (unsigned i = generator() % 14; i > 0; --i) slices.insert(generator() % geometry.data_slices());
    for (unsigned i = generator() % 3; i > 0; --i) parities.insert(generator() % geometry.parity_slices());
    for (const std::uint64_t slice : slices) {
      ++lost[slice % geometry.codewords];
      damaged.data()[slice * 4096 + generator() % geometry.length_of(slice)] ^= 1 + generator() % 255;
    }
    for (const std::uint64_t slice : parities) {
      ++lost_rows[slice % geometry.codewords];
      damaged_file.data()[geometry.parity_offset() + slice * 4096 + generator() % 4096] ^= 1;
    }
    bool possible = true;
    for (unsigned c = 0; c < geometry.codewords; ++c)
      possible &= lost[c] + lost_rows[c] <= geometry.rows || lost[c] == 0;
    const auto sidecar = Sidecar::parse(std::move(damaged_file));
    ASSERT_TRUE(sidecar);
    const HealResult result = healed(*sidecar, std::move(damaged));
    ASSERT_EQ(result.healed.has_value(), possible);
    if (possible) {
      ASSERT_TRUE(std::ranges::equal(result.healed->view(), object.view()));
    }
    ASSERT_EQ(result.damaged.total(), [&] {
      std::uint64_t total = 0;
      for (const std::uint64_t slice : slices) total += geometry.length_of(slice);
      return total;
    }());
    ++(possible ? good : bad);
  }
  EXPECT_GT(good, 50U);
  EXPECT_GT(bad, 50U);
}

TEST(Settings, are_written_in_one_way_only) {
  const Settings settings = parse_settings("2.5%", "20+2");
  EXPECT_EQ(settings, (Settings{25, 20, 2}));
  EXPECT_EQ(from_text(to_text(settings)), settings);
  std::string text = to_text(settings);
  text[text.find("25")] = '3';
  EXPECT_FALSE(from_text(text));
  EXPECT_FALSE(from_text(to_text(settings) + " "));
  EXPECT_FALSE(from_text(""));
}

TEST(Settings, nonsense_is_refused) {
  for (const char* overhead : {"", "0", "101%", "x", "5%%", "-3", "nan"})
    EXPECT_THROW(parse_settings(overhead, ""), Error) << overhead;
  for (const char* groups : {"20", "20+", "1+1", "20+9", "201+1", "20+1x", "+1"})
    EXPECT_THROW(parse_settings("5%", groups), Error) << groups;
  EXPECT_FALSE(parse_settings("5", "off").has_groups());
}

}  // namespace
}  // namespace respaldo::parity
