// Changing fstab so that a mistake cannot stop the next boot. Format: fstab(5).
#pragma once

#include <optional>
#include <string>

#include "machine/tables.h"
#include "os/file.h"

namespace respaldo::provision {

// One line, with white space and such in its fields escaped.
std::string fstab_line(const machine::FstabEntry& entry);

// What a change left behind, for taking it back.
struct FstabChange {
  std::string before, after;  // whole contents; before is empty when there was no file
  bool existed = false;
  std::optional<os::Path> backup;  // the old file, kept beside the new one
};

// Adds a line at the end / takes out the lines whose target and source are these. All other lines stay as
// they are, byte for byte. The new text is written beside the file, read by libmount and compared with what
// it should say (every old entry, and the change, and nothing else), and only then renamed over it; the old
// file is kept as FILE.before-respaldo-TIME. Mode and owner stay. Error(refused) when the target or the
// source has a line already (add) and when libmount does not read what was meant; Error(not_found) when there
// is no such line (remove).
FstabChange add_to_fstab(const os::Path& fstab, const machine::FstabEntry& entry);
FstabChange remove_from_fstab(const os::Path& fstab, const machine::FstabEntry& entry);
// Puts the text of before the change back and removes the kept copy. When somebody else changed the file
// since, only the added line is taken out.
void undo_fstab(const os::Path& fstab, const FstabChange& change, const machine::FstabEntry& added);
// The same for a removal; when somebody else changed the file since, the line comes back at its end.
void undo_removal_from_fstab(const os::Path& fstab, const FstabChange& change,
                             const machine::FstabEntry& removed);

}  // namespace respaldo::provision
