// Values of report fields, and lvm2's --select: conditions over them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace respaldo::cli {

enum class FieldKind { string, list, number, size, percent, time };

// Shown text, and what it compares by.
struct FieldValue {
  std::string text;
  std::optional<double> number;    // numbers, sizes (bytes), percents, times (unix seconds)
  std::vector<std::string> items;  // lists

  FieldValue() = default;
  FieldValue(std::string t) : text(std::move(t)) {}
  FieldValue(const char* t) : text(t) {}
  FieldValue(std::string t, double n) : text(std::move(t)), number(n) {}
  static FieldValue count(std::uint64_t n) { return {std::to_string(n), static_cast<double>(n)}; }
  static FieldValue list(std::vector<std::string> items);
  // -1, 0 or 1.
  int compare(const FieldValue& other) const;
};

// Tells the kind of a field, or absent when there is none of that name.
using FieldKindOf = std::function<std::optional<FieldKind>(std::string_view name)>;
// The value of a field of the row at hand.
using FieldValueOf = std::function<FieldValue(std::string_view name)>;

// A condition such as 'lv_size>1g && (tags=@daily || !origin="")'. Size operands without a unit are in MiB.
class Selection {
 public:
  // Error(usage) with lvm2's words. Nested at most 64 deep.
  static Selection parse(std::string_view text, const FieldKindOf& kind_of);
  ~Selection();
  Selection(Selection&&) noexcept;
  Selection& operator=(Selection&&) noexcept;

  bool matches(const FieldValueOf& value_of) const;
  // Names of the fields that it speaks of.
  const std::vector<std::string>& fields() const;

  struct Node;

 private:
  Selection();
  std::unique_ptr<Node> root_;
  std::vector<std::string> fields_;
};

}  // namespace respaldo::cli
