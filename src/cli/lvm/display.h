// pvdisplay, vgdisplay, lvdisplay and the three scans: lvm2's lines.
#pragma once

#include <string>

#include "cli/lvm/report.h"

namespace respaldo::cli {

std::string display_vg(const engine::DiskSet& disks, const engine::DiskSet::Group& group,
                       const engine::SizeUnits& units);
std::string display_lv(const ReportRow& row, ReportContext& context, const engine::SizeUnits& units);
std::string display_pv(const ReportRow& row, ReportContext& context, const engine::SizeUnits& units);

}  // namespace respaldo::cli
