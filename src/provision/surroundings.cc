// What must be right before a target is made.
#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/error.h"
#include "machine/tables.h"
#include "provision/fstab_edit.h"
#include "provision/target.h"
#include "provision/tools.h"

namespace respaldo::provision {

void check_surroundings(const TargetPlan& plan, Doors& doors) {
  // A program that is missing is found now, not between two steps.
  for (const std::string& program :
       {std::string("mkfs.") + plan.filesystem, std::string("mount"), std::string("umount")}) {
    try {
      doors.commands.run({program, "-V"});
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
      throw Error(ErrorKind::not_found, fmt::format("the program {} is missing", program),
                  program == "mkfs.xfs" ? "install xfsprogs" : "install e2fsprogs and util-linux");
    }
  }

  std::error_code error;
  const os::Path point = plan.mount_point;
  const auto facts = std::filesystem::symlink_status(point, error);
  if (std::filesystem::exists(facts)) {
    if (!std::filesystem::is_directory(facts))
      throw Error(ErrorKind::refused, fmt::format("{} is there and is no folder", plan.mount_point),
                  "choose another mount point with --mount");
    if (!std::filesystem::is_empty(point, error) || error)
      throw Error(
          ErrorKind::refused,
          fmt::format("the folder {} is not empty; a filesystem mounted there would hide what is in it",
                      plan.mount_point),
          "choose another mount point with --mount, or empty it");
  }
  for (const machine::FstabEntry& entry : machine::read_fstab(doors.fstab).entries) {
    if (entry.target == plan.mount_point)
      throw Error(
          ErrorKind::refused,
          fmt::format("{} has a line for {} already ({})", doors.fstab.native(), entry.target, entry.source),
          "choose another mount point with --mount, or remove that line");
    // Of a disk that is not there now, most likely: two of one name could not be told from each other.
    if (entry.option_value(kFstabMark) == plan.full_name())
      throw Error(ErrorKind::refused,
                  fmt::format("{} has a line for a target {} already ({} at {})", doors.fstab.native(),
                              plan.full_name(), entry.source, entry.target),
                  fmt::format("choose another name with {}--lv; or, if that disk is not used any more: respaldo target "
                              "remove {}",
                              plan.extends_group ? "" : "--vg or ", entry.target));
  }
}

}  // namespace respaldo::provision
