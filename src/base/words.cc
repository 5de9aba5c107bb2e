#include "base/words.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace respaldo {

std::vector<std::string> split_words(std::string_view line, std::string_view what) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '\\' && quote != '\'' && i + 1 < line.size()) {
      word += line[++i];
      in_word = true;
    } else if (quote != 0) {
      if (c == quote)
        quote = 0;
      else
        word += c;
    } else if (c == '"' || c == '\'') {
      quote = c;
      in_word = true;
    } else if (c == ' ' || c == '\t' || c == '\n') {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quote != 0) throw Error(ErrorKind::usage, fmt::format("{} has an open quotation mark", what));
  if (in_word) words.push_back(std::move(word));
  return words;
}

namespace {

// Letters to insert, remove or change (Levenshtein).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t i = 0; i <= b.size(); ++i) row[i] = i;
  for (std::size_t w = 1; w <= a.size(); ++w) {
    std::size_t diagonal = row[0];
    row[0] = w;
    for (std::size_t i = 1; i <= b.size(); ++i) {
      const std::size_t changed = diagonal + (a[w - 1] == b[i - 1] ? 0 : 1);
      diagonal = row[i];
      row[i] = std::min({row[i] + 1, row[i - 1] + 1, changed});
    }
  }
  return row.back();
}

}  // namespace

std::string closest(std::string_view word, std::span<const std::string> candidates) {
  constexpr std::size_t kLongest = 64;  // what is longer is no slip of the finger
  std::string best;
  std::size_t best_distance = 3;
  if (word.size() > kLongest) return best;
  for (const std::string& candidate : candidates) {
    const std::size_t here = distance(word, candidate);
    if (here >= best_distance) continue;
    best_distance = here;
    best = candidate;
  }
  return best;
}

}  // namespace respaldo
