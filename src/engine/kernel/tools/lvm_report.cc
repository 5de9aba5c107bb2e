#include "engine/kernel/tools/lvm_report.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::engine {

namespace {

template <class Number>
std::optional<Number> whole_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Error strange_value(std::string_view field, std::string_view value) {
  return Error(ErrorKind::corrupt,
               fmt::format("lvm2 reports '{}' as {}", printable(value), printable(field)));
}

}  // namespace

const std::string& LvmRow::text(std::string_view field) const {
  static const std::string empty;
  const auto at = values_.find(field);
  return at == values_.end() ? empty : at->second;
}

std::optional<std::uint64_t> LvmRow::number(std::string_view field) const {
  const std::string& value = text(field);
  if (value.empty() || value == "-1") return std::nullopt;
  const auto parsed = whole_number<std::uint64_t>(value);
  if (!parsed) throw strange_value(field, value);
  return parsed;
}

std::optional<std::uint32_t> LvmRow::percent_x100(std::string_view field) const {
  const std::string& value = text(field);
  if (value.empty()) return std::nullopt;
  const std::size_t dot = value.find('.');
  const auto whole = whole_number<std::uint32_t>(std::string_view(value).substr(0, dot));
  std::string fraction = dot == std::string::npos ? "" : value.substr(dot + 1);
  fraction.resize(2, '0');
  const auto hundredths = whole_number<std::uint32_t>(fraction);
  if (!whole || *whole > 1000000 || !hundredths) throw strange_value(field, value);
  return *whole * 100 + *hundredths;
}

std::vector<std::string> LvmRow::list(std::string_view field) const {
  std::vector<std::string> items;
  std::string_view rest = text(field);
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    if (comma != 0) items.emplace_back(rest.substr(0, comma));
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
  }
  return items;
}

bool LvmRow::flag(std::string_view field) const {
  const std::string& value = text(field);
  return !value.empty() && value != "0" && value != "-1" && value != "unknown";
}

std::vector<LvmRow> parse_lvm_report(std::string_view json, std::string_view kind) {
  using Json = nlohmann::json;
  const auto bad = [&](std::string_view why) {
    return Error(ErrorKind::corrupt, fmt::format("the report of lvm2 cannot be understood: {}", why));
  };
  const Json report = Json::parse(json, nullptr, false);
  if (!report.is_object() || !report.contains("report") || !report["report"].is_array())
    throw bad("it is no JSON report");
  std::vector<LvmRow> rows;
  for (const Json& part : report["report"]) {
    if (!part.is_object()) throw bad("a part is no object");
    const auto found = part.find(kind);
    if (found == part.end()) continue;
    if (!found->is_array()) throw bad("its rows are no list");
    for (const Json& row : *found) {
      if (!row.is_object()) throw bad("a row is no object");
      std::map<std::string, std::string, std::less<>> values;
      for (const auto& [name, value] : row.items()) {
        // json_std of newer lvm2 has numbers, lists and nulls where json has text.
        if (value.is_string())
          values[name] = value.get<std::string>();
        else if (value.is_number())
          values[name] = value.dump();
        else if (value.is_null())
          values[name] = "";
        else
          throw bad(fmt::format("the value of {} is neither text nor a number", printable(name)));
      }
      rows.emplace_back(std::move(values));
    }
  }
  return rows;
}

}  // namespace respaldo::engine
