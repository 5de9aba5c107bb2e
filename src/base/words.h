// Words that people type: command lines cut into words, and names close to a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace respaldo {

// A command line in words: quotation marks and backslashes as in a shell, nothing else of a shell.
// Error(usage) naming `what` when a quotation mark stays open.
std::vector<std::string> split_words(std::string_view line, std::string_view what);

// The candidate that differs from `word` in the fewest letters, at most two; empty when none is that close.
std::string closest(std::string_view word, std::span<const std::string> candidates);

}  // namespace respaldo
