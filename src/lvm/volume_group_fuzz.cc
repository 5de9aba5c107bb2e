// Any group's text: it is refused with an Error, or what is printed of it is accepted and prints the same
// again; its free extents and tables can be told.
#include "lvm/volume_group.h"

#include "base/error.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lvm::VolumeGroup vg;
  try {
    vg = lvm::VolumeGroup::parse({reinterpret_cast<const char*>(data), size});
  } catch (const Error&) {
    return 0;
  }
  for (const lvm::TextStyle style : {lvm::TextStyle::on_disk, lvm::TextStyle::file}) {
    const std::string text = vg.text(style, "fuzz", 1);
    if (lvm::VolumeGroup::parse(text).text(style, "fuzz", 1) != text) __builtin_trap();
  }
  std::uint64_t extents = 0;
  for (const lvm::PhysicalVolume& pv : vg.pvs) extents += pv.pe_count;
  if (vg.free_extent_count() > extents) __builtin_trap();
  int tables = 0;
  for (const lvm::LogicalVolume& lv : vg.lvs) {
    if (++tables > 100) break;  // each looks for its snapshots in the whole group
    std::uint64_t end = 0;
    for (const dm::TableLine& line : vg.table(lv)) {
      if (line.start != end || line.length == 0) __builtin_trap();
      end += line.length;
    }
    (void)vg.table(lv, "real");
  }
  return 0;
}
