#include "base/utf8.h"

#include <cstddef>

#include "base/printable.h"

namespace respaldo {

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const int length = utf8_length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(length));
  }
  return true;
}

}  // namespace respaldo
