#include "base/bytes.h"

namespace respaldo {

bool is_zero(ByteView bytes) {
  const std::uint8_t* p = bytes.data();
  std::size_t n = bytes.size();
  // Most data that is not zero says so in its first words.
  while (n >= 64) {
    std::uint64_t w[8];
    std::memcpy(w, p, 64);
    if ((w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7]) != 0) return false;
    p += 64;
    n -= 64;
  }
  std::uint8_t any = 0;
  for (std::size_t i = 0; i < n; ++i) any = static_cast<std::uint8_t>(any | p[i]);
  return any == 0;
}

}  // namespace respaldo
