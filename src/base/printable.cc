#include "base/printable.h"

#include <fmt/format.h>

namespace respaldo {

int utf8_length(std::string_view s) {
  if (s.empty()) return 0;
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const auto tail = [&](std::size_t i) { return i < s.size() && (at(i) & 0xc0) == 0x80; };
  const unsigned char c = at(0);
  if (c < 0x80) return 1;
  if (c >= 0xc2 && c <= 0xdf) return tail(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    if (c == 0xe0 && at(1) < 0xa0) return 0;  // overlong
    if (c == 0xed && at(1) > 0x9f) return 0;  // surrogate
    return 3;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (c == 0xf0 && at(1) < 0x90) return 0;  // overlong
    if (c == 0xf4 && at(1) > 0x8f) return 0;  // above U+10FFFF
    return 4;
  }
  return 0;
}

std::string printable(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const int n = utf8_length(bytes);
    const auto c = static_cast<unsigned char>(bytes[0]);
    const bool c1_control = n == 2 && c == 0xc2 && static_cast<unsigned char>(bytes[1]) < 0xa0;
    if (n == 0 || c < 0x20 || c == 0x7f || c1_control) {
      const std::size_t bad = c1_control ? 2 : 1;
      for (std::size_t i = 0; i < bad; ++i) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[i]));
      bytes.remove_prefix(bad);
      continue;
    }
    text += bytes.substr(0, static_cast<std::size_t>(n));
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return text;
}

}  // namespace respaldo
