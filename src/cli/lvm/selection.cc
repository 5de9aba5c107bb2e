#include "cli/lvm/selection.h"

#include <fmt/format.h>
#include <regex.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"

namespace respaldo::cli {

namespace {

void free_regex(regex_t* regex) {
  ::regfree(regex);
  delete regex;
}

}  // namespace

struct Selection::Node {
  enum class Kind { all, any, negation, comparison } kind = Kind::comparison;
  std::vector<std::unique_ptr<Node>> parts;
  std::string field, op, text;
  FieldKind field_kind = FieldKind::string;
  double number = 0;
  std::unique_ptr<regex_t, void (*)(regex_t*)> regex{nullptr, free_regex};
  std::vector<std::string> items;  // lists
  bool every = true;               // items: all of them, or one at least
  bool subset = false;             // {...}: the field may have more
};

namespace {

constexpr int kDeepest = 64;
constexpr std::size_t kLongest = 16 * 1024;
constexpr std::array<std::string_view, 8> kOperators = {"=~", "!~", "!=", ">=", "<=", "=", ">", "<"};

Error syntax_error(std::string_view text) {
  return Error(ErrorKind::usage,
               fmt::format("Selection syntax error at '{}'.\n  Use 'help' for selection to get more help.",
                           printable(text)));
}

class Parser {
 public:
  Parser(std::string_view text, const FieldKindOf& kind_of, std::vector<std::string>& fields)
      : rest_(text), kind_of_(kind_of), fields_(fields) {}

  std::unique_ptr<Selection::Node> whole() {
    if (rest_.size() > kLongest) throw Error(ErrorKind::usage, "The selection is too long.");
    auto node = any(0);
    blanks();
    if (!rest_.empty()) throw syntax_error(rest_);
    return node;
  }

 private:
  using Node = Selection::Node;

  void blanks() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t' || rest_[0] == '\n'))
      rest_.remove_prefix(1);
  }
  bool take(std::string_view word) {
    blanks();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  std::unique_ptr<Node> any(int depth) {
    auto node = all(depth);
    while (take("||") || take("#")) node = joined(Node::Kind::any, std::move(node), all(depth));
    return node;
  }
  std::unique_ptr<Node> all(int depth) {
    auto node = one(depth);
    while (take("&&") || take(",")) node = joined(Node::Kind::all, std::move(node), one(depth));
    return node;
  }
  // Long chains stay flat.
  static std::unique_ptr<Node> joined(Node::Kind kind, std::unique_ptr<Node> left,
                                      std::unique_ptr<Node> right) {
    if (left->kind != kind) {
      auto node = std::make_unique<Node>();
      node->kind = kind;
      node->parts.push_back(std::move(left));
      left = std::move(node);
    }
    left->parts.push_back(std::move(right));
    return left;
  }
  std::unique_ptr<Node> one(int depth) {
    if (depth > kDeepest) throw Error(ErrorKind::usage, "The selection is nested too deep.");
    if (take("!")) {
      auto node = std::make_unique<Node>();
      node->kind = Node::Kind::negation;
      node->parts.push_back(one(depth + 1));
      return node;
    }
    if (take("(")) {
      auto node = any(depth + 1);
      if (!take(")")) throw syntax_error(rest_);
      return node;
    }
    return comparison();
  }

  std::unique_ptr<Node> comparison() {
    blanks();
    auto node = std::make_unique<Node>();
    std::size_t length = 0;
    while (length < rest_.size() &&
           (std::isalnum(static_cast<unsigned char>(rest_[length])) != 0 || rest_[length] == '_'))
      ++length;
    node->field = std::string(rest_.substr(0, length));
    const std::string_view at = rest_;
    rest_.remove_prefix(length);
    const auto kind = length == 0 ? std::nullopt : kind_of_(node->field);
    if (length == 0) throw syntax_error(at);
    if (!kind)
      throw Error(ErrorKind::usage,
                  fmt::format("Unrecognised selection field: {}\n  Selection syntax error at '{}'.\n  Use "
                              "'help' for selection to get more help.",
                              printable(node->field), printable(at)));
    node->field_kind = *kind;
    fields_.push_back(node->field);
    for (const std::string_view op : kOperators)
      if (node->op.empty() && take(op)) node->op = op;
    if (node->op.empty()) throw syntax_error(rest_.empty() ? at : rest_);
    blanks();
    operand(*node);
    return node;
  }

  std::string word(std::string_view ends) {
    blanks();
    if (!rest_.empty() && (rest_[0] == '"' || rest_[0] == '\'')) {
      const std::size_t end = rest_.find(rest_[0], 1);
      if (end == std::string_view::npos) throw syntax_error(rest_);
      std::string text(rest_.substr(1, end - 1));
      rest_.remove_prefix(end + 1);
      return text;
    }
    const std::size_t end = std::min(rest_.find_first_of(ends), rest_.size());
    std::string text(rest_.substr(0, end));
    rest_.remove_prefix(end);
    while (!text.empty() && text.back() == ' ') text.pop_back();
    return text;
  }

  void operand(Node& node) {
    const bool pattern = node.op == "=~" || node.op == "!~";
    if (node.field_kind == FieldKind::list && !pattern && !rest_.empty() &&
        (rest_[0] == '[' || rest_[0] == '{'))
      return items(node);
    // A regular expression may hold what else would end the word.
    node.text = word(pattern ? " \t)" : ",&|#() \t");
    if (pattern) {
      auto compiled = std::make_unique<regex_t>();
      if (::regcomp(compiled.get(), node.text.c_str(), REG_EXTENDED | REG_NOSUB) != 0)
        throw Error(ErrorKind::usage, fmt::format("Invalid regular expression: {}", printable(node.text)));
      node.regex.reset(compiled.release());
      return;
    }
    if (node.field_kind == FieldKind::list) {
      node.items = {node.text};
      node.every = false;
      node.subset = true;
      if (node.text.empty()) node.items.clear(), node.subset = false, node.every = true;
      return;
    }
    if (node.field_kind == FieldKind::string) {
      if (node.op != "=" && node.op != "!=") throw syntax_error(node.op);
      return;
    }
    if (node.field_kind == FieldKind::size) {
      const auto bytes = try_parse_size(node.text, kMiB);
      if (!bytes) throw syntax_error(node.text);
      node.number = static_cast<double>(*bytes);
      return;
    }
    std::string digits = node.text;
    if (node.field_kind == FieldKind::percent && digits.ends_with('%')) digits.pop_back();
    char* end = nullptr;
    node.number = std::strtod(digits.c_str(), &end);
    // Words of numbers that are shown as words ("exported") compare as text.
    if (digits.empty() || *end != 0) node.number = std::nan("");
  }

  void items(Node& node) {
    const char close = rest_[0] == '[' ? ']' : '}';
    node.subset = close == '}';
    rest_.remove_prefix(1);
    for (bool first = true;; first = false) {
      if (take(std::string_view(&close, 1))) return;
      if (!first) {
        const bool every = take("&&") || take(",");
        if (!every && !take("||") && !take("#")) throw syntax_error(rest_);
        node.every = every;
      }
      node.items.push_back(word(",&|#]} \t"));
      if (node.items.back().empty() && rest_.empty()) throw syntax_error(rest_);
    }
  }

  std::string_view rest_;
  const FieldKindOf& kind_of_;
  std::vector<std::string>& fields_;
};

bool has_item(const FieldValue& value, const std::string& item) {
  return std::find(value.items.begin(), value.items.end(), item) != value.items.end();
}

bool list_equals(const Selection::Node& node, const FieldValue& value) {
  if (node.items.empty()) return value.items.empty();
  const auto has = [&](const std::string& item) { return has_item(value, item); };
  if (!node.every) return std::any_of(node.items.begin(), node.items.end(), has);
  return std::all_of(node.items.begin(), node.items.end(), has) &&
         (node.subset || value.items.size() == node.items.size());
}

bool compare_numbers(const Selection::Node& node, const FieldValue& value) {
  if (std::isnan(node.number)) return (value.text == node.text) == (node.op == "=");
  if (!value.number) return node.op == "!=";
  const double left = *value.number, right = node.number;
  if (node.op == "=") return left == right;
  if (node.op == "!=") return left != right;
  if (node.op == ">") return left > right;
  if (node.op == "<") return left < right;
  return node.op == ">=" ? left >= right : left <= right;
}

bool holds(const Selection::Node& node, const FieldValueOf& value_of) {
  using Kind = Selection::Node::Kind;
  const auto part = [&](const auto& p) { return holds(*p, value_of); };
  if (node.kind == Kind::all) return std::all_of(node.parts.begin(), node.parts.end(), part);
  if (node.kind == Kind::any) return std::any_of(node.parts.begin(), node.parts.end(), part);
  if (node.kind == Kind::negation) return !holds(*node.parts.front(), value_of);
  const FieldValue value = value_of(node.field);
  if (node.regex) {
    const auto found = [&](const std::string& text) {
      return ::regexec(node.regex.get(), text.c_str(), 0, nullptr, 0) == 0;
    };
    const bool any = node.field_kind == FieldKind::list
                         ? std::any_of(value.items.begin(), value.items.end(), found)
                         : found(value.text);
    return any == (node.op == "=~");
  }
  if (node.field_kind == FieldKind::list) return list_equals(node, value) == (node.op == "=");
  if (node.field_kind == FieldKind::string) return (value.text == node.text) == (node.op == "=");
  return compare_numbers(node, value);
}

}  // namespace

FieldValue FieldValue::list(std::vector<std::string> items) {
  FieldValue value;
  for (const std::string& item : items) value.text += (value.text.empty() ? "" : ",") + printable(item);
  value.items = std::move(items);
  return value;
}

int FieldValue::compare(const FieldValue& other) const {
  if (number && other.number) return *number < *other.number ? -1 : *number > *other.number ? 1 : 0;
  const int order = text.compare(other.text);
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

Selection::Selection() = default;
Selection::~Selection() = default;
Selection::Selection(Selection&&) noexcept = default;
Selection& Selection::operator=(Selection&&) noexcept = default;

Selection Selection::parse(std::string_view text, const FieldKindOf& kind_of) {
  Selection selection;
  selection.root_ = Parser(text, kind_of, selection.fields_).whole();
  return selection;
}

bool Selection::matches(const FieldValueOf& value_of) const { return holds(*root_, value_of); }
const std::vector<std::string>& Selection::fields() const { return fields_; }

}  // namespace respaldo::cli
