// Foreign names on a terminal.
#pragma once

#include <string>
#include <string_view>

namespace respaldo {

// Text that is safe to print: control characters (also those that end lines or turn the reading direction), and bytes
// that are not UTF-8, become \xNN.
std::string printable(std::string_view bytes);

// Length of the valid UTF-8 sequence at the start of bytes (1 to 4), or 0 when there is none.
int utf8_length(std::string_view bytes);

}  // namespace respaldo
