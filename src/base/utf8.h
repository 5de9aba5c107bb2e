// What is text.
#pragma once

#include <string_view>

namespace respaldo {

bool is_utf8(std::string_view bytes);

}  // namespace respaldo
