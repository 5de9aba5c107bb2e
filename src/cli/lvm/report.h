// Tables of fields, as lvm2's pvs, vgs and lvs print them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/lvm/options.h"
#include "dm/cow_store.h"
#include "engine/image/lvm_ops.h"
#include "engine/image/vg_edit.h"

namespace respaldo::cli {

// What a row speaks of; null where it does not apply. Pointers into the DiskSet.
struct ReportRow {
  const engine::DiskSet::Group* group = nullptr;
  const lvm::LogicalVolume* lv = nullptr;
  const lvm::Segment* segment = nullptr;
  const lvm::PhysicalVolume* pv = nullptr;  // as the group's text has it
  const engine::FoundPv* found = nullptr;   // as it lies on an image
};

// What fields need besides their row. One for each run of a verb.
class ReportContext {
 public:
  ReportContext(const engine::OpContext& op, engine::SizeUnits units) : op_(op), units_(units) {}

  const engine::OpContext& op() const { return op_; }
  std::string size(std::uint64_t bytes) const {
    return display_size(bytes, engine::SizeSuffix::brief, units_);
  }
  // Read from the store once; absent when it cannot be read.
  std::optional<dm::CowStatus> cow(const engine::DiskSet::Group& group, const lvm::LogicalVolume& lv);
  // "disk.img", or "[unknown]" for a missing PV.
  std::string pv_name(const ReportRow& row) const;
  std::string pv_name(const engine::DiskSet::Group& group, std::string_view key) const;

 private:
  const engine::OpContext& op_;
  engine::SizeUnits units_;
  std::map<std::string, std::optional<dm::CowStatus>> cows_;
};

// Shown text, and the number that it sorts by where it is one.
struct ReportValue {
  std::string text;
  std::optional<double> number;
};

struct ReportField {
  char section;  // 'l' LV, 'v' VG, 'p' PV, 's' segment
  std::string_view id, heading;
  bool right;  // aligned to the right
  ReportValue (*value)(const ReportRow&, ReportContext&);
  std::size_t width = 0;  // at least so wide
};
const std::vector<ReportField>& lvm_report_fields();
// A field by name: its prefix may be left out ("size" of an LV). Null when unknown.
const ReportField* find_report_field(std::string_view name, std::string_view prefix);

// lvs' attribute letters; also used by the display verbs.
std::string lv_attributes(const ReportRow& row, ReportContext& context);

// One report as asked for on the command line.
class Report {
 public:
  // `kind`: "lv", "vg" or "pv", which is also the prefix of names. `fields` and `sort`: the verb's own.
  // Error(usage) for unknown fields.
  Report(std::string_view kind, std::string_view fields, std::string_view sort,
         const LvmArguments& arguments);

  bool needs(char section) const;  // some field speaks of it
  const engine::SizeUnits& units() const { return units_; }
  std::string render(std::vector<ReportRow> rows, ReportContext& context) const;

 private:
  void choose_fields(std::string_view defaults, const std::vector<std::string>& options);
  std::string render_table(const std::vector<std::vector<ReportValue>>& rows) const;
  std::string render_json(const std::vector<std::vector<ReportValue>>& rows) const;

  struct SortKey {
    const ReportField* field;
    bool descending;
  };
  std::string kind_;
  std::vector<const ReportField*> fields_;
  std::vector<SortKey> sort_;
  engine::SizeUnits units_;
  std::string separator_ = " ";
  bool headings_ = true, aligned_ = true, json_ = false, prefixes_ = false, quoted_ = true;
};

// Sizes' --units and --nosuffix. Error(usage).
engine::SizeUnits units_of(const LvmArguments& arguments);

}  // namespace respaldo::cli
