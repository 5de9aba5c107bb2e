#include "dm/raid.h"

#include <gtest/gtest.h>

#include "dm/devices_test.h"
#include "dm/gf256.h"
#include "dm/table.h"

namespace respaldo::dm {
namespace {

constexpr std::uint64_t kChunk = 4096, kRows = 24;

// Spreads contents over legs by the layouts' tables, written out by hand here: the code under test only
// reads.
struct Array {
  RaidLevel level;
  Bytes contents;
  std::vector<Bytes> legs;
};

Array make_array(RaidLevel level, std::size_t count, std::uint64_t seed) {
  const std::size_t parities = level == RaidLevel::raid0 ? 0 : level == RaidLevel::raid6_zr ? 2 : 1;
  const std::size_t columns = count - parities;
  Array array{level, testing::random_bytes(columns * kRows * kChunk, seed), {}};
  for (std::size_t i = 0; i < count; ++i) array.legs.push_back(Bytes::zeroed(kRows * kChunk));
  for (std::size_t row = 0; row < kRows; ++row) {
    std::size_t p = SIZE_MAX, q = SIZE_MAX;
    if (level == RaidLevel::raid4) p = 0;
    if (level == RaidLevel::raid5_n) p = count - 1;
    if (level == RaidLevel::raid5_ls) p = count - 1 - row % count;
    if (level == RaidLevel::raid6_zr) p = row % count, q = p + 1 == count ? 0 : p + 1;
    for (std::size_t column = 0; column < columns; ++column) {
      std::size_t leg = column;
      if (level == RaidLevel::raid4) leg = column + 1;
      if (level == RaidLevel::raid5_ls) leg = (p + 1 + column) % count;
      if (level == RaidLevel::raid6_zr) leg = q == 0 ? column + 1 : column < p ? column : column + 2;
      std::memcpy(array.legs[leg].data() + row * kChunk,
                  array.contents.data() + (row * columns + column) * kChunk, kChunk);
    }
    for (std::size_t byte = row * kChunk; byte < (row + 1) * kChunk; ++byte) {
      std::uint8_t sum = 0, weighted = 0, weight = 1;
      for (std::size_t leg = 0; leg < count; ++leg) {
        if (leg != p && leg != q) {
          sum = static_cast<std::uint8_t>(sum ^ array.legs[leg].data()[byte]);
          weighted =
              static_cast<std::uint8_t>(weighted ^ gf256::multiply(weight, array.legs[leg].data()[byte]));
        }
        weight = gf256::multiply(weight, 2);
      }
      if (p != SIZE_MAX) array.legs[p].data()[byte] = sum;
      if (q != SIZE_MAX) array.legs[q].data()[byte] = weighted;
    }
  }
  return array;
}

block::DevicePtr open(const Array& array, std::vector<std::size_t> lost, bool out_of_sync = false) {
  std::vector<RaidDeviceLeg> legs;
  for (std::size_t i = 0; i < array.legs.size(); ++i) {
    const bool gone = std::find(lost.begin(), lost.end(), i) != lost.end();
    if (!gone)
      legs.push_back({memory(array.legs[i]), true});
    else if (out_of_sync)
      legs.push_back({random_memory(kRows * kChunk, 99), false});
    else
      legs.push_back({missing(kRows * kChunk, fmt::format("leg {}", i)), true});
  }
  RaidLayout layout;
  layout.level = array.level;
  layout.chunk = kChunk;
  return raid_target(layout, std::move(legs), array.contents.size(), "array");
}

TEST(Gf256, every_factor_has_an_inverse) {
  for (unsigned a = 1; a < 256; ++a) {
    const auto factor = static_cast<std::uint8_t>(a);
    EXPECT_EQ(gf256::multiply(factor, gf256::inverse(factor)), 1);
  }
  EXPECT_EQ(gf256::multiply(0x80, 2), 0x1d);
}

TEST(Raid, whole_arrays_read_as_they_were_written) {
  for (const auto& [level, legs] : std::vector<std::pair<RaidLevel, std::size_t>>{{RaidLevel::raid0, 3},
                                                                                  {RaidLevel::raid4, 4},
                                                                                  {RaidLevel::raid5_ls, 3},
                                                                                  {RaidLevel::raid5_ls, 5},
                                                                                  {RaidLevel::raid5_n, 4},
                                                                                  {RaidLevel::raid6_zr, 5},
                                                                                  {RaidLevel::raid6_zr, 6}}) {
    const Array array = make_array(level, legs, legs);
    const auto device = open(array, {});
    EXPECT_TRUE(equal(whole(*device), array.contents));
    EXPECT_TRUE(equal(block::read(*device, 5000, 33333), array.contents.view(5000, 33333)));
  }
}

TEST(Raid, one_leg_may_be_lost) {
  for (const RaidLevel level :
       {RaidLevel::raid4, RaidLevel::raid5_ls, RaidLevel::raid5_n, RaidLevel::raid6_zr}) {
    const Array array = make_array(level, 5, 7);
    for (std::size_t lost = 0; lost < 5; ++lost) {
      EXPECT_TRUE(equal(whole(*open(array, {lost})), array.contents));
      EXPECT_TRUE(equal(whole(*open(array, {lost}, true)), array.contents));
      EXPECT_TRUE(equal(block::read(*open(array, {lost}), 4000, 30000), array.contents.view(4000, 30000)));
    }
  }
}

TEST(Raid, raid6_may_lose_any_two_legs) {
  const Array array = make_array(RaidLevel::raid6_zr, 6, 8);
  for (std::size_t a = 0; a < 6; ++a)
    for (std::size_t b = a + 1; b < 6; ++b)
      EXPECT_TRUE(equal(whole(*open(array, {a, b})), array.contents)) << a << b;
}

TEST(Raid, beyond_its_redundancy_the_missing_leg_is_named) {
  const Array five = make_array(RaidLevel::raid5_ls, 4, 1), six = make_array(RaidLevel::raid6_zr, 5, 2),
              zero = make_array(RaidLevel::raid0, 2, 3);
  EXPECT_EQ(error_kind([&] { whole(*open(five, {0, 2})); }), ErrorKind::missing);
  EXPECT_EQ(error_kind([&] { whole(*open(six, {0, 1, 2})); }), ErrorKind::missing);
  try {
    whole(*open(zero, {1}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::missing);
    EXPECT_NE(std::string(error.what()).find("leg 1"), std::string::npos) << error.what();
  }
}

TEST(Raid, parity_that_was_never_synchronised_is_not_used) {
  const Array array = make_array(RaidLevel::raid5_ls, 3, 4);
  std::vector<RaidDeviceLeg> legs{
      {memory(array.legs[0]), true}, {missing(kRows * kChunk, "leg 1"), true}, {memory(array.legs[2]), true}};
  RaidLayout layout;
  layout.level = RaidLevel::raid5_ls;
  layout.chunk = kChunk;
  layout.parity_valid = 4 * kChunk;
  const auto device = raid_target(layout, legs, array.contents.size(), "array");
  EXPECT_TRUE(equal(block::read(*device, 0, 8 * kChunk), array.contents.view(0, 8 * kChunk)));
  EXPECT_EQ(error_kind([&] { whole(*device); }), ErrorKind::missing);
}

TEST(Raid, raid1_reads_around_bad_sectors) {
  const Bytes contents = testing::random_bytes(1 << 16, 1);
  const auto bad_from = [&](std::uint64_t from, std::uint64_t to) {
    return block::faulty(memory(contents), [=](Extent range) {
      if (!intersect(range, {from, to - from}).empty()) throw Error(ErrorKind::io, "bad sector");
    });
  };
  const auto device =
      raid_target({}, {{bad_from(0, 8192), true}, {bad_from(8192, 16384), true}}, 1 << 16, "r1");
  EXPECT_TRUE(equal(block::read(*device, 0, 4096), contents.view(0, 4096)));
  EXPECT_TRUE(equal(block::read(*device, 8192, 57344), contents.view(8192, 57344)));
  EXPECT_EQ(error_kind([&] { whole(*device); }), ErrorKind::io);  // one read over both faults
}

TEST(Raid, raid10_has_a_copy_of_every_chunk) {
  const Bytes contents = testing::random_bytes(2 * kRows * kChunk, 5);
  std::vector<Bytes> legs;
  for (int i = 0; i < 4; ++i) legs.push_back(Bytes(kRows * kChunk));
  for (std::size_t n = 0; n < 2 * kRows; ++n)
    for (std::size_t copy = 0; copy < 2; ++copy)
      std::memcpy(legs[n % 2 * 2 + copy].data() + n / 2 * kChunk, contents.data() + n * kChunk, kChunk);
  RaidLayout layout;
  layout.level = RaidLevel::raid10;
  layout.chunk = kChunk;
  for (unsigned mask = 0; mask < 16; ++mask) {
    std::vector<RaidDeviceLeg> devices;
    for (unsigned i = 0; i < 4; ++i)
      devices.push_back({mask >> i & 1 ? missing(kRows * kChunk, "gone") : memory(legs[i]), true});
    const auto device = raid_target(layout, devices, contents.size(), "r10");
    const bool readable = (mask & 3) != 3 && (mask & 12) != 12;
    if (readable)
      EXPECT_TRUE(equal(whole(*device), contents));
    else
      EXPECT_EQ(error_kind([&] { whole(*device); }), ErrorKind::missing);
  }
}

Bytes superblock(std::uint32_t legs, std::uint32_t position, std::uint64_t events, std::uint64_t failed,
                 std::uint64_t recovered, std::uint64_t resynchronised) {
  Bytes bytes = Bytes::zeroed(4096);
  store_le32(bytes.data(), 0x64526d44);
  store_le32(bytes.data() + 8, legs);
  store_le32(bytes.data() + 12, position);
  store_le64(bytes.data() + 16, events);
  store_le64(bytes.data() + 24, failed);
  store_le64(bytes.data() + 32, recovered);
  store_le64(bytes.data() + 40, resynchronised);
  return bytes;
}

TEST(RaidHealth, the_newest_superblock_tells_which_legs_failed) {
  const std::uint64_t done = UINT64_MAX;
  const auto health = read_raid_health(
      {memory(superblock(4, 0, 10, 0b0010, done, done)), memory(superblock(4, 1, 7, 0, done, done)),
       memory(superblock(4, 2, 10, 0b0010, 2048, 4096)), missing(4096, "meta")});
  EXPECT_EQ(health.out_of_sync, (std::vector<bool>{false, true, true, false}));
  EXPECT_EQ(health.parity_valid, UINT64_MAX);
}

TEST(RaidHealth, an_unfinished_first_synchronisation_limits_parity) {
  const auto health = read_raid_health({memory(superblock(2, 0, 3, 0, UINT64_MAX, 4096)), nullptr});
  EXPECT_EQ(health.out_of_sync, (std::vector<bool>{false, false}));
  EXPECT_EQ(health.parity_valid, 4096 * 512U);
}

TEST(Assemble, a_raid_leg_that_failed_by_its_superblocks_is_not_read) {
  const Array array = make_array(RaidLevel::raid5_ls, 3, 6);
  MapResolver resolver;
  for (unsigned i = 0; i < 3; ++i) {
    resolver.devices[fmt::format("i{}", i)] =
        i == 1 ? random_memory(kRows * kChunk, 77) : memory(array.legs[i]);
    resolver.devices[fmt::format("m{}", i)] =
        memory(superblock(3, i, i == 1 ? 5 : 9, i == 1 ? 0 : 0b010, UINT64_MAX, UINT64_MAX));
  }
  const Table table{{0, array.contents.size() / 512,
                     RaidTarget{RaidLevel::raid5_ls,
                                kChunk / 512,
                                1024,
                                2,
                                {{"m0", "i0", false}, {"m1", "i1", false}, {"m2", "i2", false}}}}};
  EXPECT_TRUE(equal(whole(*assemble(table, resolver, "lv")), array.contents));
}

TEST(Assemble, a_mirror_is_read_from_its_second_leg_only_when_that_is_in_sync) {
  MapResolver resolver;
  const Bytes contents = testing::random_bytes(4096, 1);
  resolver.devices = {{"m0", missing(4096, "m0")}, {"m1", memory(contents)}};
  MirrorTarget target{1024, {{"m0", 0}, {"m1", 0}}};
  EXPECT_TRUE(equal(whole(*assemble({{0, 8, target}}, resolver, "lv")), contents));
  target.secondaries_in_sync = false;
  EXPECT_EQ(error_kind([&] { whole(*assemble({{0, 8, target}}, resolver, "lv")); }), ErrorKind::missing);
}

}  // namespace
}  // namespace respaldo::dm
