// Paths in JSON.
#pragma once

#include <string>

#include "cli/shared.h"

namespace respaldo::cli {

// `path`; and, where its bytes are not UTF-8 and U+FFFD stands for some, `path_raw`: all of them in base64.
Json path_fields(const std::string& path);
// The same, and further fields.
Json path_fields(const std::string& path, const Json& further);

}  // namespace respaldo::cli
