#include "base/crc.h"

#include <array>

namespace respaldo {

namespace {
constexpr std::array<std::uint32_t, 256> make_table(std::uint32_t polynomial) {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ polynomial : value >> 1;
    table[i] = value;
  }
  return table;
}
constexpr auto kIeee = make_table(0xEDB88320U);
constexpr auto kCastagnoli = make_table(0x82F63B78U);

std::uint32_t run(const std::array<std::uint32_t, 256>& table, ByteView bytes, std::uint32_t crc) {
  for (std::uint8_t byte : bytes) crc = crc >> 8 ^ table[(crc ^ byte) & 0xff];
  return crc;
}
}  // namespace

std::uint32_t lvm_crc(ByteView bytes, std::uint32_t start) { return run(kIeee, bytes, start); }
std::uint32_t crc32c_raw(ByteView bytes) { return run(kCastagnoli, bytes, 0xffffffffU); }

}  // namespace respaldo
