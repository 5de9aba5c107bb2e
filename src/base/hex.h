// Hexadecimal text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace respaldo {

std::string to_hex(ByteView bytes);                       // lower case
bool from_hex(std::string_view text, MutableBytes out);   // false unless exactly 2 * out.size() digits
bool is_hex(std::string_view text);                       // lower-case digits only, at least one

}  // namespace respaldo
