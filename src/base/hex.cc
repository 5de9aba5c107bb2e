#include "base/hex.h"

#include <array>
#include <cstdint>

namespace respaldo {

namespace {

constexpr std::uint8_t kNoDigit = 0xff;  // its high bits tell it from every digit

// An index of millions of blobs is mostly hexadecimal.
constexpr std::array<std::uint8_t, 256> digit_values() {
  std::array<std::uint8_t, 256> values{};
  values.fill(kNoDigit);
  for (int i = 0; i < 10; ++i) values['0' + i] = static_cast<std::uint8_t>(i);
  for (int i = 0; i < 6; ++i) values['a' + i] = values['A' + i] = static_cast<std::uint8_t>(10 + i);
  return values;
}
constexpr auto kDigits = digit_values();

std::uint8_t digit(char c) { return kDigits[static_cast<std::uint8_t>(c)]; }

}  // namespace

std::string to_hex(ByteView bytes) {
  static constexpr char kLetters[] = "0123456789abcdef";
  std::string text(bytes.size() * 2, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    text[2 * i] = kLetters[bytes[i] >> 4];
    text[2 * i + 1] = kLetters[bytes[i] & 15];
  }
  return text;
}

bool from_hex(std::string_view text, MutableBytes out) {
  if (text.size() != out.size() * 2) return false;
  std::uint8_t seen = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint8_t high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    seen |= high | low;
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return seen < 16;
}

bool is_hex(std::string_view text) {
  for (char c : text)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  return !text.empty();
}

}  // namespace respaldo
