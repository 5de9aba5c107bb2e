// Unaligned integers of fixed byte order, for on-disk structs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace respaldo {

// Little-endian T in sizeof(T) bytes with alignment 1. Converts explicitly: get()/set().
template <class T>
struct Le {
  static_assert(std::is_unsigned_v<T>);
  std::uint8_t bytes[sizeof(T)];

  T get() const {
    T value = 0;
    for (std::size_t i = sizeof(T); i-- > 0;) value = static_cast<T>(value << 8 | bytes[i]);
    return value;
  }
  void set(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
};

template <class T>
struct Be {
  static_assert(std::is_unsigned_v<T>);
  std::uint8_t bytes[sizeof(T)];

  T get() const {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | bytes[i]);
    return value;
  }
  void set(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
      bytes[sizeof(T) - 1 - i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
};

template <>
inline std::uint8_t Le<std::uint8_t>::get() const { return bytes[0]; }
template <>
inline void Le<std::uint8_t>::set(std::uint8_t value) { bytes[0] = value; }

using Le16 = Le<std::uint16_t>;
using Le32 = Le<std::uint32_t>;
using Le64 = Le<std::uint64_t>;
using Be16 = Be<std::uint16_t>;
using Be32 = Be<std::uint32_t>;
using Be64 = Be<std::uint64_t>;

inline std::uint32_t load_le32(const std::uint8_t* p) { Le32 v; std::memcpy(&v, p, 4); return v.get(); }
inline std::uint64_t load_le64(const std::uint8_t* p) { Le64 v; std::memcpy(&v, p, 8); return v.get(); }
inline void store_le32(std::uint8_t* p, std::uint32_t value) { Le32 v; v.set(value); std::memcpy(p, &v, 4); }
inline void store_le64(std::uint8_t* p, std::uint64_t value) { Le64 v; v.set(value); std::memcpy(p, &v, 8); }

}  // namespace respaldo
