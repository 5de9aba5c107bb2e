#include "chunk/content_cutter.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace respaldo::chunk {
namespace {

Bytes noise(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i < size; ++i) bytes.data()[i] = static_cast<std::uint8_t>(random());
  return bytes;
}

std::vector<std::size_t> cuts(const ContentCutter& cutter, ByteView bytes) {
  std::vector<std::size_t> ends;
  for (std::size_t at = 0; at < bytes.size();) ends.push_back(at += cutter.cut(bytes.subspan(at)));
  return ends;
}

TEST(ContentCutter, LengthsStayWithinBoundsAndNearTheWantedOne) {
  const Bytes bytes = noise(96U << 20, 1);
  const auto ends = cuts(ContentCutter(7), bytes);
  std::size_t last = 0;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    const std::size_t length = ends[i] - last;
    EXPECT_LE(length, ContentCutter::kLongest);
    if (i + 1 < ends.size()) {
      EXPECT_GE(length, ContentCutter::kShortest);
    }
    last = ends[i];
  }
  EXPECT_EQ(last, bytes.size());
  const std::size_t average = bytes.size() / ends.size();
  EXPECT_GT(average, 700U << 10);
  EXPECT_LT(average, 1500U << 10);
}

TEST(ContentCutter, FindsTheSameCutsAfterAnInsertion) {
  const Bytes before = noise(48U << 20, 2);
  Bytes after(before.size() + 12345);
  std::memcpy(after.data(), before.data(), 3U << 20);
  std::memset(after.data() + (3U << 20), 'x', 12345);
  std::memcpy(after.data() + (3U << 20) + 12345, before.data() + (3U << 20), before.size() - (3U << 20));
  const ContentCutter cutter(7);
  const auto a = cuts(cutter, before), b = cuts(cutter, after);
  std::set<std::size_t> moved;
  for (const std::size_t end : b) moved.insert(end > (3U << 20) ? end - 12345 : end);
  std::size_t common = 0;
  for (const std::size_t end : a) common += moved.contains(end) ? 1 : 0;
  EXPECT_GE(common + 4, a.size());
}

TEST(ContentCutter, ALookAheadInPiecesFindsWhatOneLookFinds) {
  const Bytes bytes = noise(16U << 20, 3);
  const ContentCutter cutter(9);
  const std::size_t whole = cutter.cut(bytes);
  std::size_t seen = 0, found = 0;
  for (std::size_t have = 100'000; found == 0 && have < bytes.size(); have += 100'000) {
    const std::size_t cut = cutter.cut(bytes.view(0, have), seen);
    if (cut < have) found = cut;
    seen = have - 1;
  }
  EXPECT_EQ(found, whole);
}

TEST(ContentCutter, AnotherKeyCutsElsewhere) {
  const Bytes bytes = noise(32U << 20, 4);
  EXPECT_NE(cuts(ContentCutter(1), bytes), cuts(ContentCutter(2), bytes));
}

}  // namespace
}  // namespace respaldo::chunk
