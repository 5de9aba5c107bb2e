// Arithmetic of RAID6's field: GF(2^8) with polynomial 0x11d, generator 2.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace respaldo::dm::gf256 {

namespace internal {
struct Tables {
  std::array<std::uint8_t, 512> exp{};
  std::array<std::uint8_t, 256> log{};
};
constexpr Tables make_tables() {
  Tables tables;
  unsigned value = 1;
  for (unsigned i = 0; i < 255; ++i) {
    tables.exp[i] = tables.exp[i + 255] = static_cast<std::uint8_t>(value);
    tables.log[value] = static_cast<std::uint8_t>(i);
    value = value << 1 ^ (value & 0x80 ? 0x11d : 0);
  }
  return tables;
}
inline constexpr Tables kTables = make_tables();
}  // namespace internal

// g^n.
constexpr std::uint8_t power(unsigned n) { return internal::kTables.exp[n % 255]; }
constexpr std::uint8_t multiply(std::uint8_t a, std::uint8_t b) {
  if (a == 0 || b == 0) return 0;
  return internal::kTables.exp[internal::kTables.log[a] + internal::kTables.log[b]];
}
// REQUIRES a != 0.
constexpr std::uint8_t inverse(std::uint8_t a) {
  return internal::kTables.exp[255 - internal::kTables.log[a]];
}

// to ^= factor * from, byte by byte. REQUIRES equal sizes.
inline void add_multiple(MutableBytes to, ByteView from, std::uint8_t factor) {
  if (factor == 1) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<std::uint8_t>(to[i] ^ from[i]);
    return;
  }
  std::array<std::uint8_t, 256> product{};
  for (unsigned value = 0; value < 256; ++value)
    product[value] = multiply(static_cast<std::uint8_t>(value), factor);
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<std::uint8_t>(to[i] ^ product[from[i]]);
}
inline void scale(MutableBytes bytes, std::uint8_t factor) {
  std::array<std::uint8_t, 256> product{};
  for (unsigned value = 0; value < 256; ++value)
    product[value] = multiply(static_cast<std::uint8_t>(value), factor);
  for (std::uint8_t& byte : bytes) byte = product[byte];
}

}  // namespace respaldo::dm::gf256
