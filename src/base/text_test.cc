// Sizes, durations and foreign names as text.
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"

namespace respaldo {
namespace {

TEST(ParseSize, takes_what_lvm2_takes) {
  EXPECT_EQ(try_parse_size("10G"), 10 * kGiB);
  EXPECT_EQ(try_parse_size("4m"), 4 * kMiB);
  EXPECT_EQ(try_parse_size("4M"), 4 * kMiB);
  EXPECT_EQ(try_parse_size("1.5t"), kTiB + kTiB / 2);
  EXPECT_EQ(try_parse_size("8s"), 4096U);
  EXPECT_EQ(try_parse_size("100b"), 100U);
  EXPECT_EQ(try_parse_size("512"), 512U);
  EXPECT_EQ(try_parse_size("1500", kMiB), 1500 * kMiB);
  EXPECT_EQ(try_parse_size("0.5", kMiB), kMiB / 2);
  EXPECT_EQ(try_parse_size("2GiB"), 2 * kGiB);
  EXPECT_EQ(try_parse_size("2gb"), 2 * kGiB);
  EXPECT_EQ(try_parse_size("0"), 0U);
  EXPECT_EQ(try_parse_size(".5k"), 512U);
  EXPECT_EQ(try_parse_size("8388608T"), std::uint64_t{1} << 63);
}

TEST(ParseSize, refuses_what_is_not_a_size) {
  for (const char* bad : {"",        "G",
                          "-1",      "+1",
                          " 1",      "1 G",
                          "1x",      "1e5",
                          "0x10",    "1.2.3",
                          ".",       "..",
                          "1GG",     "1Gx",
                          "nan",     "inf",
                          "1,5G",    "8sB",
                          "8biB",    "1G\n",
                          "10%FREE", "9999999999999999999999999999999999999999"})
    EXPECT_FALSE(try_parse_size(bad)) << bad;
}

TEST(ParseSize, refuses_what_does_not_fit) {
  EXPECT_FALSE(try_parse_size("8388609T"));
  EXPECT_FALSE(try_parse_size("16E"));
  EXPECT_FALSE(try_parse_size("16.0E"));
  EXPECT_FALSE(try_parse_size("18446744073709551615"));
  EXPECT_FALSE(try_parse_size("18446744073709551616"));
  EXPECT_FALSE(try_parse_size("99999999999999999999999P"));
}

TEST(ParseSize, the_error_names_the_option_and_shows_how) {
  try {
    parse_size("lots", "--size");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_STREQ(error.what(), "--size: 'lots' is not a size");
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST(FormatSize, reads_as_lvm2_writes) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(1023), "1023 B");
  EXPECT_EQ(format_size(1024), "1.00 KiB");
  EXPECT_EQ(format_size(2499 * 4 * kMiB), "9.76 GiB");
  EXPECT_EQ(format_size(kMiB - 1), "1.00 MiB");  // never "1024.00 KiB"
  EXPECT_EQ(format_size(std::numeric_limits<std::uint64_t>::max()), "16.00 EiB");
}

TEST(FormatDuration, grows_with_the_time) {
  EXPECT_EQ(format_duration(0.44), "0.4 s");
  EXPECT_EQ(format_duration(9.94), "9.9 s");
  EXPECT_EQ(format_duration(9.96), "10 s");
  EXPECT_EQ(format_duration(59.4), "59 s");
  EXPECT_EQ(format_duration(59.6), "1:00");
  EXPECT_EQ(format_duration(65), "1:05");
  EXPECT_EQ(format_duration(7384), "2:03:04");
  EXPECT_EQ(format_duration(-3), "0.0 s");
}

TEST(FormatDuration, what_nobody_can_know_is_said_so) {
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "unknown");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::quiet_NaN()), "unknown");
  EXPECT_EQ(format_duration(1e300), "unknown");
  EXPECT_EQ(format_rate(std::numeric_limits<double>::infinity()), "unknown");
  EXPECT_EQ(format_rate(std::numeric_limits<double>::quiet_NaN()), "unknown");
  EXPECT_EQ(format_rate(2.5 * kMiB), "2.50 MiB/s");
  EXPECT_EQ(format_rate(-1), "0 B/s");
}

TEST(Printable, ordinary_text_of_any_language_stays) {
  for (const char* text : {"", "root", "señal", "日本", "🐘", "a\\b"}) EXPECT_EQ(printable(text), text);
}

TEST(Printable, nothing_that_moves_the_cursor_gets_through) {
  EXPECT_EQ(printable("a\nb\x1b[2J\x7f"), "a\\x0ab\\x1b[2J\\x7f");
  EXPECT_EQ(printable(std::string_view("\0x", 2)), "\\x00x");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");  // CSI in one character
}

TEST(Printable, nothing_that_turns_the_reading_direction_gets_through) {
  EXPECT_EQ(printable("exe.\xe2\x80\xaegpj"), "exe.\\xe2\\x80\\xaegpj");  // U+202E
  EXPECT_EQ(printable("\xe2\x81\xa6x"), "\\xe2\\x81\\xa6x");              // U+2066
  EXPECT_EQ(printable("\xe2\x80\xa8"), "\\xe2\\x80\\xa8");                // U+2028, a line end
  EXPECT_EQ(printable("a\xe2\x80\x93z"), "a\xe2\x80\x93z");               // an en dash is no danger
}

TEST(Printable, broken_utf8_is_shown_byte_by_byte) {
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
  EXPECT_EQ(printable("\xe6\x97"
                      "a"),
            "\\xe6\\x97"
            "a");  // cut short
}

TEST(Utf8, lengths) {
  EXPECT_EQ(utf8_length(""), 0);
  EXPECT_EQ(utf8_length("a"), 1);
  EXPECT_EQ(utf8_length("é"), 2);
  EXPECT_EQ(utf8_length("日"), 3);
  EXPECT_EQ(utf8_length("🐘"), 4);
  EXPECT_EQ(utf8_length("\x80"), 0);
}

TEST(Units, one_is_told_in_the_singular) {
  EXPECT_EQ(counted(0, "backup"), "0 backups");
  EXPECT_EQ(counted(1, "backup"), "1 backup");
  EXPECT_EQ(counted(2, "new blob"), "2 new blobs");
}

}  // namespace
}  // namespace respaldo
