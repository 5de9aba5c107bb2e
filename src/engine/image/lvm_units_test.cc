#include "engine/image/lvm_units.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/units.h"

namespace respaldo::engine {
namespace {

TEST(LvmUnits, human_sizes_say_when_rounding_enlarged_them) {
  EXPECT_EQ(display_size(2499 * 4 * kMiB), "9.76 GiB");
  EXPECT_EQ(display_size(17858ULL * 4 * kMiB), "<69.76 GiB");
  EXPECT_EQ(display_size(17857ULL * 4 * kMiB), "69.75 GiB");
  EXPECT_EQ(display_size(2560ULL * 4 * kMiB), "10.00 GiB");
  EXPECT_EQ(display_size(0), "0   ");
  EXPECT_EQ(display_size(68 * kMiB, SizeSuffix::brief), "68.00m");
  EXPECT_EQ(display_size(2383ULL * 4 * kMiB, SizeSuffix::brief), "<9.31g");
  EXPECT_EQ(display_size(0, SizeSuffix::brief), "0 ");
}

TEST(LvmUnits, fixed_units) {
  const auto in = [](std::string_view unit, std::uint64_t bytes, bool suffix = true) {
    auto units = SizeUnits::parse(unit);
    units->suffix = suffix;
    return display_size(bytes, SizeSuffix::brief, *units);
  };
  EXPECT_EQ(in("b", 25165824), "25165824B");
  EXPECT_EQ(in("b", 25165824, false), "25165824");
  EXPECT_EQ(in("s", 25165824), "49152S");
  EXPECT_EQ(in("k", 4194304), "4096.00k");
  EXPECT_EQ(in("H", 25165824), "25.17M");
  EXPECT_EQ(in("e", 25165824), "0.00e");
  EXPECT_EQ(in("4m", 25165824), "6.00U");
  EXPECT_EQ(in("g", 0), "0g");
  EXPECT_EQ(in("h", 0, false), "0");
  for (const char* bad : {"", "z", "mm", "4", "-4m", "4q"}) EXPECT_FALSE(SizeUnits::parse(bad)) << bad;
}

TEST(LvmUnits, size_arguments) {
  EXPECT_EQ(parse_size_spec("1500").value, 1500 * kMiB);
  EXPECT_EQ(parse_size_spec("10G").value, 10 * kGiB);
  EXPECT_EQ(parse_size_spec("+1.5g").sign, SizeSign::plus);
  EXPECT_EQ(parse_size_spec("-8s").value, 4096U);
  for (const char* bad : {"", "abc", "+", "10Q", "100b", "99999999999999E"})
    EXPECT_THROW(parse_size_spec(bad), Error) << bad;
}

TEST(LvmUnits, extents_arguments) {
  EXPECT_EQ(parse_extents_spec("2382").value, 2382U);
  const SizeSpec free = parse_extents_spec("100%FREE");
  EXPECT_EQ(free.base, SizeBase::free);
  EXPECT_EQ(free.value, 100U);
  EXPECT_EQ(parse_extents_spec("+50%vg").base, SizeBase::vg);
  EXPECT_EQ(parse_extents_spec("20%ORIGIN").percent_name(), "%ORIGIN");
  for (const char* bad : {"", "5%FOO", "x", "5q", "9999999999999", "5%"})
    EXPECT_THROW(parse_extents_spec(bad), Error) << bad;
  try {
    parse_extents_spec("5%FOO");
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "Specified %FOO is unknown.\nInvalid argument for --extents: 5%FOO");
  }
}

TEST(LvmUnits, percents_of_huge_counts_do_not_overflow) {
  EXPECT_EQ(percent_of(254, 10, false), 25U);
  EXPECT_EQ(percent_of(10, 15, true), 2U);
  EXPECT_EQ(percent_of(~std::uint64_t{0}, 100, false), ~std::uint64_t{0});
  EXPECT_EQ(percent_of(~std::uint64_t{0}, 300, false), ~std::uint64_t{0});
}

}  // namespace
}  // namespace respaldo::engine
