// Base64, standard alphabet with padding.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace respaldo::crypto {

std::string to_base64(ByteView bytes);
// Absent for anything but padded base64 without white space.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace respaldo::crypto
