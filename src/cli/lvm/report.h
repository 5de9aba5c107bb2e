// Tables of fields, as lvm2's pvs, vgs and lvs print them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/lvm/options.h"
#include "cli/lvm/selection.h"
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
  std::optional<engine::PvSegment> pv_segment;
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

enum class ReportSection { lv, vg, pv, segment, pv_segment };

struct ReportField {
  ReportSection section;
  std::string_view id, heading;
  std::size_t width;  // at least
  FieldKind kind;
  FieldValue (*value)(const ReportRow&, ReportContext&);  // called only for rows that have the section

  bool right() const { return kind == FieldKind::number || kind == FieldKind::size; }
  FieldValue of(const ReportRow& row, ReportContext& context) const;
};
const std::vector<ReportField>& lvm_report_fields();
std::vector<ReportField> make_lv_fields();
std::vector<ReportField> make_segment_fields();
std::vector<ReportField> make_vg_fields();
std::vector<ReportField> make_pv_fields();
// A field by name: its prefix may be left out ("size" of an LV). Null when unknown.
const ReportField* find_report_field(std::string_view name, std::string_view prefix);

FieldValue size_value(std::uint64_t bytes, const ReportContext& context);

// lvs' attribute letters; also used by the display verbs.
std::string lv_attributes(const ReportRow& row, ReportContext& context);
std::string vg_attributes(const engine::DiskSet::Group& group);
// "linear", "striped", "raid5".
std::string segment_type(const lvm::Segment& segment);
// The legs of a segment: a PV's name or an LV's, first extent, number of extents.
struct SegmentLeg {
  std::string name;
  std::uint64_t first = 0, count = 0;
  bool on_pv = false;
};
std::vector<SegmentLeg> segment_legs(const engine::DiskSet::Group& group, const lvm::Segment& segment,
                                     const ReportContext& context);
// Bytes: 0 when the segment has no stripes.
std::uint64_t stripe_bytes(const lvm::Segment& segment);
// lvs -o lv_time; empty when it is not known.
std::string lv_time_text(const lvm::LogicalVolume& lv);
// inherit, normal, cling, contiguous, anywhere as one letter.
std::string policy_letter(const std::optional<std::string>& policy);
std::uint64_t total_extents(const lvm::VolumeGroup& vg);
// LVs as lvm2 counts them: those that a user sees.
std::uint64_t shown_lv_count(const lvm::VolumeGroup& vg);
bool has_word(const std::vector<std::string>& words, std::string_view word);

// One report as asked for on the command line.
class Report {
 public:
  // `kind`: "lv", "vg" or "pv", which is also the prefix of names. `fields` and `sort`: the verb's own.
  // Error(usage) for unknown fields.
  Report(std::string_view kind, std::string_view fields, std::string_view sort,
         const LvmArguments& arguments);

  bool needs(ReportSection section) const;  // some field or key speaks of it
  const engine::SizeUnits& units() const { return units_; }
  // `name`: the key of JSON, "lv" or "pvseg".
  std::string render(std::string_view name, std::vector<ReportRow> rows, ReportContext& context) const;

 private:
  void choose_fields(std::string_view defaults, const std::vector<std::string>& options);
  std::string render_table(const std::vector<std::vector<FieldValue>>& rows) const;
  std::string render_json(std::string_view name, const std::vector<std::vector<FieldValue>>& rows) const;

  struct SortKey {
    const ReportField* field;
    bool descending;
  };
  std::string kind_;
  std::vector<const ReportField*> fields_;
  std::vector<SortKey> sort_;
  std::optional<Selection> selection_;
  engine::SizeUnits units_;
  std::string separator_ = " ";
  bool headings_ = true, aligned_ = true, json_ = false, prefixes_ = false, quoted_ = true;
};

// Sizes' --units and --nosuffix. Error(usage).
engine::SizeUnits units_of(const LvmArguments& arguments);

}  // namespace respaldo::cli
