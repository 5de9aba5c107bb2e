// The reports of lvm2 (`--reportformat json --units b --nosuffix`): rows of named values, all of them text.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace respaldo::engine {

// One row. Values are as lvm2 prints them; a field that was not asked for reads as empty.
class LvmRow {
 public:
  LvmRow() = default;
  explicit LvmRow(std::map<std::string, std::string, std::less<>> values) : values_(std::move(values)) {}

  const std::string& text(std::string_view field) const;
  // Absent for an empty value; Error(corrupt) when it is no number.
  std::optional<std::uint64_t> number(std::string_view field) const;
  std::uint64_t number_or_zero(std::string_view field) const { return number(field).value_or(0); }
  // "12.34" as 1234.
  std::optional<std::uint32_t> percent_x100(std::string_view field) const;
  // Of a field that is a list: "a,b".
  std::vector<std::string> list(std::string_view field) const;
  // Of a field that is yes or no: "1", or its name ("open", "snapshot invalid"); "0", "" and "unknown" are
  // no. lvm2 prints "-1" for what it does not know.
  bool flag(std::string_view field) const;

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

// The rows of a report named `kind` ("lv", "vg", "pv"; with segments "seg", "pvseg"). Error(corrupt) when the
// text is no such report.
std::vector<LvmRow> parse_lvm_report(std::string_view json, std::string_view kind);

}  // namespace respaldo::engine
