// Finding damaged objects by their hashes, and healing them as far as their parity reaches.
#pragma once

#include <functional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/extent.h"
#include "base/progress.h"
#include "store/backend.h"

namespace respaldo::parity {

enum class Outcome {
  healed,          // a damaged or lost object is whole again
  parity_rebuilt,  // the object is whole; its sidecar was missing or damaged and was made anew
  beyond,          // damaged or lost, and not to be brought back: nothing was changed
  group_damaged,   // a group's parity is damaged or stale; `update` makes it anew
  stale_parity,    // a sidecar whose object does not exist: removed by another program, or lost
};
std::string_view to_string(Outcome outcome);  // stable words, for JSON

struct RepairItem {
  Outcome outcome = Outcome::beyond;
  store::Handle object;
  ExtentSet damaged;    // bytes of the object that were wrong; empty when it was missing, or is whole
  std::string message;  // a sentence
};

struct RepairOptions {
  bool dry_run = false;  // say what would be done, change nothing
  // Objects that must exist (the packs that the index names).
  std::vector<store::Handle> required;
  // When not empty: look at these only.
  std::vector<store::Handle> only;
  // Whether bytes are the configuration: it has no name that proves it. Absent: it is left alone.
  std::function<bool(ByteView)> is_config;
  unsigned threads = 0;  // 0: one for each core
  std::function<void()> before_replacing{};  // throws when the lock is not ours any more
};

struct RepairReport {
  std::vector<RepairItem> items;  // what was not in order, objects in the order of their types and names
  std::uint64_t objects = 0, bytes_read = 0;
  std::size_t count(Outcome outcome) const;
  bool ok() const { return count(Outcome::beyond) == 0; }
};

// What keeps a repository from being opened: damaged keys, keys that are all lost, a damaged or lost
// configuration. `config_is_bad`: it was found not to open, or is not there. Needs no key, looks at nothing
// else.
RepairReport repair_entrance(store::Backend& backend, bool config_is_bad);

// Reads all objects and their parity. Needs no key. `backend` may be wrapped by parity or not; a repository
// without parity has its damage told as beyond. An object is replaced only by bytes whose SHA-256 is right,
// written next to it, synced and read back before they take its name; what cannot be healed is not touched.
// REQUIRES that nobody removes objects meanwhile (the exclusive lock).
RepairReport repair(store::Backend& backend, const RepairOptions& options, Progress& progress,
                    std::stop_token stop);

// What repair would say of these: changes nothing, reads them, and for a pack that its own parity cannot heal
// all that its groups have, as damage of another member may have to be healed first.
RepairReport look_for_healing(store::Backend& backend, const std::set<store::Handle>& objects,
                              Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::parity
