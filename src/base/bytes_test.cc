#include "base/bytes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cctype>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/crc.h"
#include "base/endian.h"
#include "base/hex.h"

namespace respaldo {
namespace {

TEST(Bytes, memory_is_aligned_for_direct_io) {
  for (std::size_t size : {1U, 511U, 4096U, 100000U})
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(Bytes(size).data()) % Bytes::kAlignment, 0U);
}

TEST(Bytes, what_was_moved_from_is_empty) {
  Bytes a = Bytes::copy_of(as_bytes("text"));
  Bytes b = std::move(a);
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): that is the question
  EXPECT_EQ(a.capacity(), 0U);
  EXPECT_EQ(as_text(b), "text");
  b = std::move(*&b);
  EXPECT_EQ(as_text(b), "text");
}

TEST(Bytes, resizing_keeps_what_was_there) {
  Bytes bytes = Bytes::copy_of(as_bytes("0123456789"));
  bytes.resize(4);
  EXPECT_EQ(as_text(bytes), "0123");
  bytes.resize(8);  // within capacity: the old bytes are still there
  EXPECT_EQ(as_text(bytes.view(0, 4)), "0123");
  bytes.resize(100000);
  EXPECT_EQ(as_text(bytes.view(0, 4)), "0123");
  EXPECT_EQ(bytes.size(), 100000U);
}

TEST(Bytes, nothing_at_all_is_a_fine_buffer) {
  Bytes none(0);
  EXPECT_TRUE(none.empty());
  EXPECT_TRUE(none.clone().empty());
  EXPECT_TRUE(Bytes::zeroed(0).view().empty());
  none.resize(0);
  none.resize(3);
  EXPECT_EQ(none.size(), 3U);
}

TEST(Bytes, large_ones_are_used_again) {
  for (const std::size_t size : {std::size_t{1} << 20, (std::size_t{1} << 20) + 1, std::size_t{9} << 20}) {
    Bytes first(size);
    EXPECT_GE(first.capacity(), size);
    EXPECT_LE(first.capacity(), 2 * size + size / 4);
    std::memset(first.data(), 1, first.capacity());
    Bytes second = std::move(first);
    first = Bytes(size);  // another one
    EXPECT_NE(first.data(), second.data());
    std::memset(first.data(), 2, first.capacity());
    EXPECT_EQ(second.data()[size - 1], 1);
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // nothing is kept from sanitizers
TEST(Bytes, a_kept_one_is_the_same_memory) {
  for (const std::size_t size : {std::size_t{3} << 20, (std::size_t{16} << 20) + 700'000}) {  // a pack's
    {
      Bytes bytes(size);
      bytes.data()[size / 2] = 0x5a;
    }
    EXPECT_EQ(Bytes(size).data()[size / 2], 0x5a) << size;  // fresh memory is zero
  }
}

TEST(Bytes, not_many_are_kept) {
  const auto resident = [] {
    std::size_t total = 0, pages = 0;
    std::ifstream("/proc/self/statm") >> total >> pages;
    return pages * 4096;
  };
  constexpr std::size_t kSize = 1U << 20, kCount = 200;
  std::vector<Bytes> all;
  for (std::size_t i = 0; i < kCount; ++i) {
    all.emplace_back(kSize);
    std::memset(all.back().data(), 1, kSize);
  }
  const std::size_t most = resident();
  all.clear();
  EXPECT_LT(resident() + (kCount - 128 - 10) * kSize, most);  // 32 MiB for each of at most four processors
}
#endif

TEST(Bytes, threads_share_what_is_kept) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (unsigned char t = 1; t <= 4; ++t)
    threads.emplace_back([&wrong, t] {
      for (std::size_t i = 0; i < 2000; ++i) {
        const std::size_t size = (std::size_t{128} << 10) * (1 + i % 5);
        Bytes bytes(size);
        bytes.data()[0] = bytes.data()[size - 1] = t;
        Bytes other(size);
        other.data()[0] = other.data()[size - 1] = 0;
        wrong += bytes.data()[0] != t || bytes.data()[size - 1] != t;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(IsZero, one_byte_anywhere_is_seen) {
  EXPECT_TRUE(is_zero({}));
  for (std::size_t size : {1U, 7U, 63U, 64U, 65U, 200U}) {
    for (std::size_t start : {0U, 1U, 5U}) {  // unaligned views too
      Bytes bytes = Bytes::zeroed(size + start + 1);
      bytes.data()[size + start] = 1;  // just past the view
      EXPECT_TRUE(is_zero(bytes.view(start, size)));
      for (std::size_t i = 0; i < size; ++i) {
        bytes.data()[start + i] = 0x80;
        EXPECT_FALSE(is_zero(bytes.view(start, size))) << size << " " << i;
        bytes.data()[start + i] = 0;
      }
    }
  }
}

TEST(Endian, byte_order_is_that_of_the_format) {
  Le32 little;
  little.set(0x01020304);
  EXPECT_EQ(to_hex({little.bytes, 4}), "04030201");
  EXPECT_EQ(little.get(), 0x01020304U);
  Be64 big;
  big.set(0x0102030405060708ULL);
  EXPECT_EQ(to_hex({big.bytes, 8}), "0102030405060708");
  EXPECT_EQ(big.get(), 0x0102030405060708ULL);
  Le16 small;
  small.set(0xfffe);
  EXPECT_EQ(small.get(), 0xfffeU);
  EXPECT_EQ(to_hex({small.bytes, 2}), "feff");
  Le<std::uint8_t> one;
  one.set(0xab);
  EXPECT_EQ(one.get(), 0xabU);
  Be<std::uint8_t> other;
  other.set(0xcd);
  EXPECT_EQ(other.get(), 0xcdU);
  std::uint8_t odd[9];
  store_le64(odd + 1, ~0ULL - 1);
  EXPECT_EQ(load_le64(odd + 1), ~0ULL - 1);
  store_le32(odd + 3, 0xdeadbeef);
  EXPECT_EQ(load_le32(odd + 3), 0xdeadbeefU);
  static_assert(sizeof(Le64) == 8 && alignof(Le64) == 1 && alignof(Be16) == 1);
}

TEST(Crc, matches_the_published_check_values) {
  // The catalogue gives inverted results for "123456789": CRC-32 cbf43926, CRC-32C e3069283.
  EXPECT_EQ(~lvm_crc(as_bytes("123456789"), 0xffffffffU), 0xcbf43926U);
  EXPECT_EQ(~crc32c_raw(as_bytes("123456789")), 0xe3069283U);
  EXPECT_EQ(lvm_crc({}), 0xf597a6cfU);
}

TEST(Crc, lvm_checksums_continue) {
  const ByteView text = as_bytes("a circular buffer that wraps");
  EXPECT_EQ(lvm_crc(text.subspan(11), lvm_crc(text.first(11))), lvm_crc(text));
}

TEST(Hex, goes_there_and_back) {
  EXPECT_EQ(to_hex(as_bytes(std::string_view("\x00\x9f\xff", 3))), "009fff");
  Bytes out(3);
  EXPECT_TRUE(from_hex("009fFF", out));
  EXPECT_EQ(to_hex(out), "009fff");
}

TEST(Hex, what_is_not_hexadecimal_is_refused) {
  Bytes out(2);
  for (const char* bad : {"", "00", "00000", "000000", "00g0", "0x00", " 000", "00-1"})
    EXPECT_FALSE(from_hex(bad, out)) << bad;
  for (int c = 0; c < 256; ++c)
    for (const std::size_t place : {0U, 3U}) {
      std::string text = "0000";
      text[place] = static_cast<char>(c);
      EXPECT_EQ(from_hex(text, out), std::isxdigit(c) != 0) << c;
    }
  EXPECT_TRUE(is_hex("0123456789abcdef"));
  EXPECT_FALSE(is_hex("ABCDEF"));
  EXPECT_FALSE(is_hex(""));
  EXPECT_FALSE(is_hex("12 34"));
}

}  // namespace
}  // namespace respaldo
