// Small helpers for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>

#include "base/bytes.h"

namespace respaldo::testing {

// Reproducible bytes.
inline Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  std::mt19937_64 generator(seed);
  std::size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    const std::uint64_t value = generator();
    std::memcpy(bytes.data() + at, &value, 8);
  }
  for (; at < size; ++at) bytes.data()[at] = static_cast<std::uint8_t>(generator());
  return bytes;
}

}  // namespace respaldo::testing
