// Parity of a whole repository: how much of it there is, making what is missing, taking it away.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "parity/named_packs.h"
#include "parity/settings.h"

namespace respaldo::parity {

struct Coverage {
  std::uint64_t objects = 0, object_bytes = 0;
  std::uint64_t parity_bytes = 0;  // sidecars and groups
  std::uint64_t groups = 0;
  std::vector<store::Handle> without_parity;  // objects that have no sidecar
  std::vector<store::Handle> stale;           // sidecars of objects that do not exist, keys' first
  std::vector<std::string> without_group;     // packs that no group with all its members has
  std::vector<std::string> stale_groups;      // groups whose members are not all there, or unreadable ones
  // Packs that are surely named, and not there. Their sidecars are not stale, nor are groups that lack
  // nothing else.
  std::vector<std::string> lost_packs;
  // Nothing to do for `update`.
  bool complete(const Settings& settings) const;
};
// By names and sizes alone: what a sidecar holds is not read. Needs no key.
Coverage look_at_coverage(store::Backend& backend, const NamedPacks& named = {});

// A sidecar as it lies there is that of its object, and a group is whole. By `file`: a sidecar or a group.
// What does not exist any more is sound. Reads it wholly.
bool is_sound(store::Backend& backend, const store::Handle& file);
// The same for what was read of it already.
bool is_sound(const store::Handle& file, Bytes bytes);

struct UpdateOptions {
  bool keep_stale = false;     // sidecars whose objects do not exist stay: they may be what is left of them
  bool check_sidecars = true;  // read each sidecar's header: damaged ones, and other settings
  std::vector<std::string> broken_groups{};  // known to be damaged
  NamedPacks named{};                        // what is not there, and perhaps named, counts as lost
  unsigned threads = 0;
  std::function<void()> before_removing{};  // throws when the lock is not ours any more
};
struct UpdateReport {
  std::uint64_t made = 0, removed = 0;  // sidecars
  std::uint64_t groups_made = 0, groups_removed = 0;
  std::vector<store::Handle> damaged;  // objects that do not match their names: they get no parity
  std::vector<store::Handle> lost;     // packs that are named and not there: their sidecars stay
  std::uint64_t groups_kept = 0;       // to be replaced, but they may be what heals one of these
};
// Brings parity up to date with what is there: after another program wrote or pruned, and after the settings
// were changed. Objects are read to be protected, and checked by their names before. May be stopped and
// repeated. REQUIRES the exclusive lock. Error(refused) when the repository has no parity.
UpdateReport update(store::Backend& backend, const UpdateOptions& options, Progress& progress,
                    std::stop_token stop);

// What sidecars are there for and is not, of one type or of all: removed by another program, or lost.
// (`repair` with these as `only` brings them back.) Reads the start of each such sidecar.
std::vector<store::Handle> lost_objects(store::Backend& backend, std::optional<store::FileType> of,
                                        Progress& progress, const std::stop_token& stop);

// Removes the settings, then all parity.
void disable(store::Backend& backend);

// There is parity, and no settings that tell of it: they were lost, or `disable` was cut off.
bool is_left_behind(store::Backend& backend);
// What helps then: the rest of a hint.
inline constexpr const char* kTakeUp =
    "`respaldo parity enable` (with the percentage and the --groups that it had, if they are known) takes up the "
    "parity that is there, and then `respaldo check --repair` heals out of it; `respaldo parity disable` removes it";

}  // namespace respaldo::parity
