#include "chunk/content_cutter.h"

#include <algorithm>

namespace respaldo::chunk {

namespace {

// Bits that must be zero at a cut, taken from the top of the hash, where the last 64 bytes all count. Four
// times as many as average below the wanted size, four times fewer above.
constexpr int kBits = 20, kNormalization = 2;
static_assert(ContentCutter::kWanted == std::size_t{1} << kBits);
constexpr std::uint64_t top_bits(int n) { return ~std::uint64_t{0} << (64 - n); }
constexpr std::uint64_t kStrict = top_bits(kBits + kNormalization), kLax = top_bits(kBits - kNormalization);

// The hash forgets what is more than 64 bytes back.
constexpr std::size_t kWindow = 64;

// Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014.
std::uint64_t split_mix(std::uint64_t& state) {
  std::uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

// The first cut behind `at`, or 0. A function of plain values: its state stays in registers, which triples
// the speed.
std::size_t search(const std::uint64_t* gear, const std::uint8_t* bytes, std::size_t at, std::size_t stop,
                   std::uint64_t mask, std::uint64_t& state) {
  std::uint64_t hash = state;
  for (; at + 4 <= stop; at += 4) {
    const std::uint64_t first = (hash << 1) + gear[bytes[at]], second = (first << 1) + gear[bytes[at + 1]],
                        third = (second << 1) + gear[bytes[at + 2]];
    hash = (third << 1) + gear[bytes[at + 3]];
    if ((first & mask) == 0) [[unlikely]]
      return at + 1;
    if ((second & mask) == 0) [[unlikely]]
      return at + 2;
    if ((third & mask) == 0) [[unlikely]]
      return at + 3;
    if ((hash & mask) == 0) [[unlikely]]
      return at + 4;
  }
  for (; at < stop; ++at) {
    hash = (hash << 1) + gear[bytes[at]];
    if ((hash & mask) == 0) return at + 1;
  }
  state = hash;
  return 0;
}

}  // namespace

ContentCutter::ContentCutter(std::uint64_t key) {
  for (std::uint64_t& value : gear_) value = split_mix(key);
}

std::size_t ContentCutter::cut(ByteView bytes, std::size_t from) const {
  const std::size_t end = std::min(bytes.size(), kLongest);
  std::size_t at = std::max(from, kShortest);
  if (at >= end) return end;
  std::uint64_t hash = 0;
  for (std::size_t i = at - kWindow; i < at; ++i) hash = (hash << 1) + gear_[bytes[i]];
  if (const std::size_t stop = std::min(end, kWanted); at < stop) {
    if (const std::size_t found = search(gear_.data(), bytes.data(), at, stop, kStrict, hash)) return found;
    at = stop;
  }
  if (const std::size_t found = search(gear_.data(), bytes.data(), at, end, kLax, hash)) return found;
  return end;
}

}  // namespace respaldo::chunk
