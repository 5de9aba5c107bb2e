// What the kernel tells in small files of /proc and /sys. What cannot be read tells nothing: no function here throws an
// Error for a file that is missing or that answers with an error.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "os/file.h"

namespace respaldo::os {

// The whole file, at most 16 MiB; empty when it cannot be read.
std::string text_of(const Path& file);
std::string line_of(const Path& file);  // its first line
// Names in a folder, sorted by bytes.
std::vector<std::string> names_in(const Path& folder);
// "\040" is a blank, in mountinfo and swaps.
std::string unescaped(std::string_view text);

// Whether a release of Linux ("6.1.0-13-amd64") is `version` ("5.8") or a later one; not when it cannot be read.
bool is_since(std::string_view release, std::string_view version);
bool kernel_is_since(std::string_view version);  // the one that runs

}  // namespace respaldo::os
