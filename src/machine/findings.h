// What an expert would say on seeing a host's storage. Pure functions on the picture.
#pragma once

#include <string>
#include <vector>

#include "machine/picture.h"

namespace respaldo::machine {

enum class Severity { ok, note, warning, problem };
std::string_view to_string(Severity severity);

struct Finding {
  Severity severity = Severity::warning;
  std::string kind;     // stable word for JSON
  std::string subject;  // the volume, group, device or fstab line that it is about
  std::string message;
  std::string advice;  // what to do
  friend bool operator==(const Finding&, const Finding&) = default;
};
using Findings = std::vector<Finding>;

// One family each; find_all() joins them. `repository` is an absolute folder without symbolic links, empty
// when none is known or it is remote.
Findings repository_on_same_disk(const Picture& picture, std::string_view repository);
Findings misaligned_pvs(const Picture& picture);
Findings groups_on_removable_disks(const Picture& picture);
Findings fstab_that_hangs_the_boot(const Picture& picture);
Findings endangered_snapshots(const Picture& picture);  // nearly full, invalid, smaller than the worst case
Findings stale_respaldo_snapshots(const Picture& picture);
Findings mounted_snapshots(const Picture& picture);
Findings duplicates(const Picture& picture);   // names of groups, UUIDs of PVs
Findings missing_pvs(const Picture& picture);  // groups that are partial
Findings groups_without_room(const Picture& picture);
Findings hidden_pvs(const Picture& picture);  // on a disk, but not in lvm2's report
Findings full_thin_pools(const Picture& picture);
// Problems first.
Findings find_all(const Picture& picture, std::string_view repository);

// Bytes of a COW store with `chunk` bytes a chunk that can never overflow, whatever is written to `origin`
// bytes (header, all chunks, all exception areas and the empty entry that ends them).
std::uint64_t cow_worst_case(std::uint64_t origin, std::uint64_t chunk);

}  // namespace respaldo::machine
