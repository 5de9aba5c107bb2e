// What pvdisplay, vgdisplay and lvdisplay print: lvm2's lines. Multi-line texts end in a newline.
#pragma once

#include <string>

#include "cli/lvm/report.h"

namespace respaldo::cli {

std::string display_vg(const engine::DiskSet::Group& group, ReportContext& context,
                       const engine::SizeUnits& units);
std::string display_vg_colons(const engine::DiskSet::Group& group);
std::string display_vg_short(const engine::DiskSet::Group& group, const engine::SizeUnits& units);
std::string display_lv(const ReportRow& row, ReportContext& context, const engine::SizeUnits& units);
std::string display_lv_colons(const ReportRow& row, const ReportContext& context);
// lvdisplay -m
std::string display_lv_segments(const ReportRow& row, ReportContext& context, const engine::SizeUnits& units);
std::string display_pv(const ReportRow& row, ReportContext& context, const engine::SizeUnits& units,
                       bool maps);
std::string display_pv_colons(const ReportRow& row, const ReportContext& context);
std::string display_pv_short(const ReportRow& row, const ReportContext& context,
                             const engine::SizeUnits& units);
// The few lines for each PV that vgdisplay -v shows.
std::string display_pv_of_group(const engine::DiskSet::Group& group, const lvm::PhysicalVolume& pv,
                                const ReportContext& context);

}  // namespace respaldo::cli
