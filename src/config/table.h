// The tables of the configuration, with what is wrong in them told at its place.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/printable.h"
#include "base/words.h"
#include "config/config.h"

namespace respaldo::config {

inline std::string backquoted(std::string_view text) { return "`" + printable(text) + "`"; }

class Problems {
 public:
  // Once each: the defaults are read again for every job.
  void add(const toml::node* where, std::string message, std::string hint = {}) {
    Problem problem;
    if (where != nullptr) {
      problem.line = where->source().begin.line;
      problem.column = where->source().begin.column;
    }
    problem.message = std::move(message);
    problem.hint = std::move(hint);
    const bool told = std::ranges::any_of(list_, [&](const Problem& other) {
      return other.line == problem.line && other.column == problem.column && other.message == problem.message;
    });
    if (!told) list_.push_back(std::move(problem));
  }
  std::size_t count() const { return list_.size(); }
  std::vector<Problem> take() {
    std::ranges::stable_sort(list_, {}, [](const Problem& p) { return std::pair(p.line, p.column); });
    return std::move(list_);
  }

 private:
  std::vector<Problem> list_;
};

// One table; a key that is not there is looked for in `otherwise`. Whatever was not asked for is unknown.
class Table {
 public:
  Table(const toml::table& table, std::string name, Problems& problems,
        const toml::table* otherwise = nullptr)
      : table_(table), otherwise_(otherwise), name_(std::move(name)), problems_(problems) {}

  const toml::node* node(const std::string& key) {
    if (std::ranges::find(known_, key) == known_.end()) known_.push_back(key);
    if (const toml::node* own = table_.get(key)) return own;
    return otherwise_ == nullptr ? nullptr : otherwise_->get(key);
  }
  std::string text(const std::string& key, std::string fallback = {}) {
    const toml::node* found = node(key);
    if (found == nullptr) return fallback;
    if (const auto* value = found->as_string()) return text_of(*found, value->get(), key);
    wrong(found, key, "a text in quotation marks");
    return fallback;
  }
  bool flag(const std::string& key) {
    const toml::node* found = node(key);
    if (found == nullptr) return false;
    if (const auto* value = found->as_boolean()) return value->get();
    wrong(found, key, "true or false");
    return false;
  }
  std::optional<int> number(const std::string& key, int least, int most) {
    const toml::node* found = node(key);
    if (found == nullptr) return std::nullopt;
    if (const auto* value = found->as_integer();
        value != nullptr && value->get() >= least && value->get() <= most)
      return static_cast<int>(value->get());
    wrong(found, key, fmt::format("a number from {} to {}", least, most));
    return std::nullopt;
  }
  std::string choice(const std::string& key, const std::vector<std::string>& choices) {
    const std::string word = text(key);
    if (word.empty() || std::ranges::find(choices, word) != choices.end()) return word;
    wrong(node(key), key, fmt::format("one of {}", fmt::join(choices, ", ")));
    return {};
  }
  // A list, or one text alone.
  std::vector<std::string> texts(const std::string& key) {
    const toml::node* found = node(key);
    std::vector<std::string> result;
    if (found == nullptr) return result;
    if (const auto* one = found->as_string()) {
      result.push_back(text_of(*found, one->get(), key));
    } else if (const auto* list = found->as_array()) {
      for (const toml::node& item : *list)
        if (const auto* value = item.as_string())
          result.push_back(text_of(item, value->get(), key));
        else
          wrong(&item, key, "a list of texts");
    } else {
      wrong(found, key, "a text, or a list of texts");
    }
    return result;
  }
  // A list of words, or one line that is cut into words.
  Argv argv(const std::string& key) {
    const toml::node* found = node(key);
    if (found == nullptr) return {};
    Argv words;
    try {
      words = found->is_string() ? split_words(text(key), key) : texts(key);
    } catch (const Error& error) {
      problems_.add(found, error.message());
      return {};
    }
    if (words.empty() || words.front().empty())
      problems_.add(found, fmt::format("{} names no program", backquoted(key)));
    return words;
  }
  std::optional<std::chrono::seconds> duration(const std::string& key) {
    const toml::node* found = node(key);
    if (found == nullptr) return std::nullopt;
    if (const auto* value = found->as_string())
      if (const auto duration = try_parse_duration(value->get()); duration && duration->count() > 0)
        return duration;
    wrong(found, key, "a time such as \"90s\", \"30m\", \"12h\", \"7d\" or \"2w\"");
    return std::nullopt;
  }
  // "always", "never" or a duration.
  std::optional<std::chrono::seconds> interval(const std::string& key, std::chrono::seconds fallback) {
    const toml::node* found = node(key);
    if (found == nullptr) return fallback;
    if (const auto* value = found->as_string()) {
      if (value->get() == "always") return std::chrono::seconds(0);
      if (value->get() == "never") return std::nullopt;
      if (const auto duration = try_parse_duration(value->get()); duration && duration->count() > 0)
        return duration;
    }
    wrong(found, key, "\"always\", \"never\", or a time such as \"7d\"");
    return fallback;
  }
  const toml::table* table(const std::string& key) {
    const toml::node* found = node(key);
    if (found == nullptr) return nullptr;
    if (const auto* value = found->as_table()) return value;
    wrong(found, key, "a table");
    return nullptr;
  }
  void finish() {
    for (const auto& [key, value] : table_) {
      const std::string word(key.str());
      if (std::ranges::find(known_, word) != known_.end()) continue;
      const std::string close = closest(word, known_);
      problems_.add(&value, fmt::format("{} has no key {}", name_, backquoted(word)),
                    close.empty() ? fmt::format("its keys are: {}", fmt::join(known_, ", "))
                                  : fmt::format("did you mean {}?", backquoted(close)));
    }
  }
  const std::string& name() const { return name_; }
  Problems& problems() { return problems_; }
  // Where the key is, else where it is missing.
  const toml::node* place_of(const std::string& key) {
    const toml::node* found = node(key);
    return found != nullptr ? found : &table_;
  }

 private:
  void wrong(const toml::node* where, const std::string& key, const std::string& what) {
    problems_.add(where, fmt::format("{} must be {}", backquoted(key), what));
  }
  std::string text_of(const toml::node& where, const std::string& value, const std::string& key) {
    if (value.find('\0') == std::string::npos) return value;
    problems_.add(&where, fmt::format("{} holds a NUL byte", backquoted(key)));
    return {};
  }

  const toml::table& table_;
  const toml::table* otherwise_;
  std::string name_;
  Problems& problems_;
  std::vector<std::string> known_;
};

}  // namespace respaldo::config
