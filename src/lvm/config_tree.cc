#include "lvm/config_tree.h"

#include <fmt/format.h>

#include <cctype>
#include <cerrno>
#include <cstdlib>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::lvm {

namespace {

constexpr int kDeepest = 32;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  ConfigSection file() {
    ConfigSection section = entries(0);
    if (at_ < text_.size()) fail("unexpected '}'");
    return section;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    std::size_t line = 1;
    for (std::size_t i = 0; i < at_ && i < text_.size(); ++i) line += text_[i] == '\n' ? 1 : 0;
    throw Error(ErrorKind::corrupt, fmt::format("metadata text, line {}: {}", line, what));
  }

  void skip() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
        ++at_;
      } else {
        break;
      }
    }
  }

  void count() {
    if (++values_ > kMostValues) fail("there are too many values");
  }

  bool eat(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  std::string quoted() {
    const char quote = text_[at_++];
    std::string result;
    while (at_ < text_.size() && text_[at_] != quote) {
      if (quote == '"' && text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      result += text_[at_++];
    }
    if (at_ >= text_.size()) fail("a string does not end");
    ++at_;
    return result;
  }

  bool at_quote() const { return at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\''); }

  std::string bare(std::string_view stops) {
    const std::size_t begin = at_;
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) == 0 &&
           stops.find(text_[at_]) == std::string_view::npos)
      ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  ConfigScalar scalar() {
    skip();
    if (at_quote()) return quoted();
    const std::string word = bare("#,]}{=");
    if (word.empty()) fail("a value is missing");
    const bool number = std::isdigit(static_cast<unsigned char>(word[0])) != 0 ||
                        ((word[0] == '-' || word[0] == '+' || word[0] == '.') && word.size() > 1);
    if (!number) return word;
    char* end = nullptr;
    errno = 0;
    const long long value = std::strtoll(word.c_str(), &end, 0);
    if (*end == '\0') {
      if (errno == ERANGE) fail("a number is too large");
      return std::int64_t{value};
    }
    std::strtod(word.c_str(), &end);
    if (*end == '\0') return ConfigFloat{word};
    return word;
  }

  ConfigSection entries(int depth) {
    if (depth > kDeepest) fail("sections are nested too deeply");
    ConfigSection section;
    for (;;) {
      skip();
      if (at_ >= text_.size()) {
        if (depth > 0) fail("a section does not end");
        return section;
      }
      if (text_[at_] == '}') return section;
      count();
      ConfigNode node;
      node.key = at_quote() ? quoted() : bare("#={}");
      if (node.key.empty()) fail("a name is missing");
      if (eat('{')) {
        node.value = entries(depth + 1);
        if (!eat('}')) fail("a section does not end");
      } else if (eat('=')) {
        if (eat('[')) {
          ConfigArray array;
          while (!eat(']')) {
            count();
            array.push_back(scalar());
            if (!eat(',')) {
              if (!eat(']')) fail("an array does not end");
              break;
            }
          }
          node.value = std::move(array);
        } else {
          node.value = scalar();
        }
      } else {
        fail(fmt::format("'=' or '{{' is missing after '{}'", printable(node.key)));
      }
      section.push_back(std::move(node));
    }
  }

  std::string_view text_;
  std::size_t at_ = 0, values_ = 0;
};

std::string quote(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

// Bare where the parser reads it back as the same word.
std::string key_text(const std::string& key) {
  const bool bare = !key.empty() && key.find_first_of(" \t\r\n\v\f#={}\"'") == std::string::npos;
  return bare ? key : quote(key);
}

std::string scalar_text(const ConfigScalar& scalar) {
  if (const auto* integer = std::get_if<std::int64_t>(&scalar)) return std::to_string(*integer);
  if (const auto* real = std::get_if<ConfigFloat>(&scalar)) return real->text;
  return quote(std::get<std::string>(scalar));
}

std::string sectors_comment(std::int64_t sectors) {
  static constexpr const char* kUnits[] = {"Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Petabytes"};
  double value = static_cast<double>(sectors) / 2;
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("\t# {:g} {}", value, kUnits[unit]);
}

class Printer {
 public:
  explicit Printer(TextStyle style) : style_(style) {}

  void section(const ConfigSection& section, int depth) {
    for (const ConfigNode& node : section) {
      if (const ConfigSection* inner = node.section()) {
        if (style_ == TextStyle::file || depth == 0) gap();
        line(depth, key_text(node.key) + " {");
        this->section(*inner, depth + 1);
        line(depth, "}");
      } else if (const auto* array = std::get_if<ConfigArray>(&node.value)) {
        std::string text = key_text(node.key) + " = [";
        for (std::size_t i = 0; i < array->size(); ++i)
          text += (i > 0 ? ", " : "") + scalar_text((*array)[i]);
        line(depth, text + "]");
      } else {
        const auto& scalar = std::get<ConfigScalar>(node.value);
        std::string text = key_text(node.key) + " = " + scalar_text(scalar);
        const auto* sectors = std::get_if<std::int64_t>(&scalar);
        if (style_ == TextStyle::file && sectors != nullptr && *sectors > 0 &&
            (node.key == "extent_size" || node.key == "dev_size" || node.key == "stripe_size" ||
             node.key == "chunk_size"))
          text += sectors_comment(*sectors);
        line(depth, text);
      }
    }
  }

  std::string take() { return std::move(text_); }

 private:
  void gap() {
    if (!text_.empty() && !text_.ends_with("{\n") && !text_.ends_with("\n\n")) text_ += '\n';
  }
  void line(int depth, std::string_view content) {
    if (style_ == TextStyle::file) text_.append(static_cast<std::size_t>(depth), '\t');
    text_ += content;
    text_ += '\n';
  }
  TextStyle style_;
  std::string text_;
};

}  // namespace

const ConfigNode* find(const ConfigSection& section, std::string_view key) {
  for (const ConfigNode& node : section)
    if (node.key == key) return &node;
  return nullptr;
}

ConfigNode* find(ConfigSection& section, std::string_view key) {
  for (ConfigNode& node : section)
    if (node.key == key) return &node;
  return nullptr;
}

namespace {
[[noreturn]] void wrong_type(std::string_view key, std::string_view wanted) {
  throw Error(ErrorKind::corrupt, fmt::format("metadata text: '{}' is not {}", printable(key), wanted));
}
}  // namespace

std::optional<std::int64_t> get_integer(const ConfigSection& section, std::string_view key) {
  const ConfigNode* node = find(section, key);
  if (node == nullptr) return std::nullopt;
  const auto* scalar = std::get_if<ConfigScalar>(&node->value);
  const auto* integer = scalar != nullptr ? std::get_if<std::int64_t>(scalar) : nullptr;
  if (integer == nullptr) wrong_type(key, "a whole number");
  return *integer;
}

std::optional<std::string> get_string(const ConfigSection& section, std::string_view key) {
  const ConfigNode* node = find(section, key);
  if (node == nullptr) return std::nullopt;
  const auto* scalar = std::get_if<ConfigScalar>(&node->value);
  const auto* text = scalar != nullptr ? std::get_if<std::string>(scalar) : nullptr;
  if (text == nullptr) wrong_type(key, "a string");
  return *text;
}

std::vector<std::string> get_string_array(const ConfigSection& section, std::string_view key) {
  const ConfigNode* node = find(section, key);
  if (node == nullptr) return {};
  const auto* array = std::get_if<ConfigArray>(&node->value);
  if (array == nullptr) wrong_type(key, "an array of strings");
  std::vector<std::string> result;
  for (const ConfigScalar& scalar : *array) {
    const auto* text = std::get_if<std::string>(&scalar);
    if (text == nullptr) wrong_type(key, "an array of strings");
    result.push_back(*text);
  }
  return result;
}

void set(ConfigSection& section, std::string_view key,
         std::variant<ConfigScalar, ConfigArray, ConfigSection> value) {
  if (ConfigNode* node = find(section, key)) {
    node->value = std::move(value);
  } else {
    section.push_back({std::string(key), std::move(value)});
  }
}

void erase(ConfigSection& section, std::string_view key) {
  std::erase_if(section, [&](const ConfigNode& node) { return node.key == key; });
}

ConfigSection parse_config(std::string_view text) {
  if (text.size() > kLongestText) throw Error(ErrorKind::corrupt, "the metadata text is longer than 64 MiB");
  if (text.find('\0') != std::string_view::npos)
    throw Error(ErrorKind::corrupt, "the metadata text holds a NUL byte");
  return Parser(text).file();
}

std::string print_config(const ConfigSection& tree, TextStyle style) {
  Printer printer(style);
  printer.section(tree, 0);
  return printer.take();
}

}  // namespace respaldo::lvm
