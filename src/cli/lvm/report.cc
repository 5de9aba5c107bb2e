#include "cli/lvm/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::cli {

namespace {

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    if (comma > 0) words.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return words;
}

const ReportField* require_field(std::string_view name, std::string_view prefix) {
  const ReportField* field = find_report_field(name, prefix);
  if (field == nullptr)
    throw Error(ErrorKind::usage, fmt::format("Unrecognised field: {}", printable(name)),
                "-o help lists the fields");
  return field;
}

// "lv_all": everything of that section.
std::optional<ReportSection> section_of_all(std::string_view name) {
  if (name == "lv_all") return ReportSection::lv;
  if (name == "vg_all") return ReportSection::vg;
  if (name == "pv_all") return ReportSection::pv;
  if (name == "seg_all") return ReportSection::segment;
  if (name == "pvseg_all") return ReportSection::pv_segment;
  return std::nullopt;
}

}  // namespace

engine::SizeUnits units_of(const LvmArguments& arguments) {
  engine::SizeUnits units;
  if (arguments.has("units")) {
    const auto given = engine::SizeUnits::parse(arguments.value("units"));
    if (!given)
      throw Error(ErrorKind::usage,
                  fmt::format("Invalid units specification: {}", printable(arguments.value("units"))));
    units = *given;
  }
  units.suffix = !arguments.has("nosuffix");
  return units;
}

FieldValue ReportField::of(const ReportRow& row, ReportContext& context) const {
  const bool applies = section == ReportSection::lv           ? row.lv != nullptr
                       : section == ReportSection::vg         ? row.group != nullptr
                       : section == ReportSection::pv_segment ? row.pv_segment.has_value()
                       : section == ReportSection::segment    ? row.segment != nullptr || row.pv_segment
                                                              : true;
  return applies ? value(row, context) : FieldValue();
}

const std::vector<ReportField>& lvm_report_fields() {
  static const std::vector<ReportField> fields = [] {
    std::vector<ReportField> all;
    for (auto* make : {make_lv_fields, make_vg_fields, make_pv_fields, make_segment_fields})
      for (const ReportField& field : make()) all.push_back(field);
    return all;
  }();
  return fields;
}

const ReportField* find_report_field(std::string_view name, std::string_view prefix) {
  const auto bare = [](std::string_view text) {
    std::string out;
    for (const char c : text)
      if (c != '_') out += c;
    return out;
  };
  const std::string wanted = bare(name);
  for (const ReportField& field : lvm_report_fields())
    if (bare(field.id) == wanted) return &field;
  for (const std::string_view lead : {prefix, std::string_view("seg"), std::string_view("vg"),
                                      std::string_view("pv"), std::string_view("lv")})
    for (const ReportField& field : lvm_report_fields())
      if (bare(field.id) == std::string(lead) + wanted) return &field;
  return nullptr;
}

Report::Report(std::string_view kind, std::string_view fields, std::string_view sort,
               const LvmArguments& arguments)
    : kind_(kind), units_(units_of(arguments)) {
  choose_fields(fields, arguments.values("options"));
  for (std::string word : split(arguments.value("sort", sort))) {
    const bool descending = word[0] == '-';
    if (word[0] == '-' || word[0] == '+') word.erase(0, 1);
    sort_.push_back({require_field(word, kind_), descending});
  }
  if (arguments.has("select"))
    selection_.emplace(Selection::parse(arguments.value("select"), [&](std::string_view name) {
      const ReportField* field = find_report_field(name, kind_);
      return field == nullptr ? std::nullopt : std::optional(field->kind);
    }));
  headings_ = !arguments.has("noheadings");
  if (arguments.has("separator")) {
    separator_ = arguments.value("separator");
    aligned_ = arguments.has("aligned");
  }
  const std::string format = arguments.value("reportformat", "basic");
  if (format != "basic" && format != "json")
    throw Error(ErrorKind::usage, fmt::format("Unknown report format '{}'.", printable(format)));
  json_ = format != "basic";
  prefixes_ = arguments.has("nameprefixes");
  quoted_ = !arguments.has("unquoted");
  if (prefixes_) aligned_ = false;
}

void Report::choose_fields(std::string_view defaults, const std::vector<std::string>& options) {
  for (const std::string& name : split(defaults)) fields_.push_back(require_field(name, kind_));
  bool replaced = false;
  for (const std::string& option : options) {
    std::string_view list = option;
    const char first = list.empty() ? ' ' : list[0];
    if (first == '#') continue;  // compaction
    if (first == '+' || first == '-')
      list.remove_prefix(1);
    else if (!replaced)
      fields_.clear(), replaced = true;
    for (const std::string& name : split(list)) {
      const auto section = section_of_all(name);
      if (section || name == "all") {
        for (const ReportField& field : lvm_report_fields())
          if (!section || field.section == *section) fields_.push_back(&field);
        continue;
      }
      const ReportField* field = require_field(name, kind_);
      if (first == '-')
        std::erase(fields_, field);
      else
        fields_.push_back(field);
    }
  }
}

bool Report::needs(ReportSection section) const {
  const auto speaks = [&](const ReportField* field) { return field != nullptr && field->section == section; };
  return std::any_of(fields_.begin(), fields_.end(), speaks) ||
         std::any_of(sort_.begin(), sort_.end(), [&](const SortKey& key) { return speaks(key.field); }) ||
         (selection_ &&
          std::any_of(selection_->fields().begin(), selection_->fields().end(),
                      [&](const auto& name) { return speaks(find_report_field(name, kind_)); }));
}

std::string Report::render(std::string_view name, std::vector<ReportRow> rows, ReportContext& context) const {
  if (selection_)
    std::erase_if(rows, [&](const ReportRow& row) {
      return !selection_->matches(
          [&](std::string_view field) { return find_report_field(field, kind_)->of(row, context); });
    });
  std::stable_sort(rows.begin(), rows.end(), [&](const ReportRow& a, const ReportRow& b) {
    for (const SortKey& key : sort_) {
      const int order = key.field->of(a, context).compare(key.field->of(b, context));
      if (order != 0) return key.descending ? order > 0 : order < 0;
    }
    return false;
  });
  std::vector<std::vector<FieldValue>> table;
  for (const ReportRow& row : rows) {
    std::vector<FieldValue> values;
    for (const ReportField* field : fields_) values.push_back(field->of(row, context));
    table.push_back(std::move(values));
  }
  return json_ ? render_json(name, table) : render_table(table);
}

std::string Report::render_table(const std::vector<std::vector<FieldValue>>& rows) const {
  std::vector<std::size_t> widths(fields_.size(), 0);
  for (std::size_t c = 0; c < fields_.size(); ++c) {
    widths[c] = fields_[c]->width;
    if (headings_) widths[c] = std::max(widths[c], fields_[c]->heading.size());
    for (const auto& row : rows) widths[c] = std::max(widths[c], row[c].text.size());
  }
  std::string out;
  const auto line = [&](bool heading, auto cell) {
    out += "  ";
    for (std::size_t c = 0; c < fields_.size(); ++c) {
      if (c > 0) out += separator_;
      const std::string text = cell(c);
      if (!aligned_)
        out += text;
      else if (fields_[c]->right() && !heading)
        out += fmt::format("{:>{}}", text, widths[c]);
      else
        out += fmt::format("{:<{}}", text, widths[c]);
    }
    out += '\n';
  };
  if (headings_ && !rows.empty()) line(true, [&](std::size_t c) { return std::string(fields_[c]->heading); });
  for (const auto& row : rows)
    line(false, [&](std::size_t c) {
      if (!prefixes_) return row[c].text;
      std::string name(fields_[c]->id);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char ch) { return std::toupper(ch); });
      return quoted_ ? fmt::format("LVM2_{}='{}'", name, row[c].text)
                     : fmt::format("LVM2_{}={}", name, row[c].text);
    });
  return out;
}

// In lvm2's layout, down to the blanks.
std::string Report::render_json(std::string_view name,
                                const std::vector<std::vector<FieldValue>>& rows) const {
  std::string out = "  {\n      \"report\": [\n          {\n              \"" + std::string(name) + "\": [\n";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    out += "                  {";
    for (std::size_t c = 0; c < fields_.size(); ++c)
      out += fmt::format(
          "{}\"{}\":{}", c == 0 ? "" : ", ", fields_[c]->id,
          nlohmann::json(rows[r][c].text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    out += r + 1 < rows.size() ? "},\n" : "}\n";
  }
  return out + "              ]\n          }\n      ]\n  }\n";
}

}  // namespace respaldo::cli
