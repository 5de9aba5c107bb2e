// What every command asks of a store far away before anything else, asked for at once.
#pragma once

#include <memory>
#include <string>

#include "store/backend.h"

namespace respaldo::store {

struct Entrance {
  std::string key{};  // name of the key that probably opens: loaded while the keys are still being listed
  // Listings for who only reads: the backups, and then the indexes. Neither is given to anybody who has saved or
  // removed something (a lock) before asking.
  bool snapshots = false, indexes = false;
  // For who locks and then writes: the locks at once, for a first look; as soon as a lock is saved the locks again, behind
  // them the backups and the indexes, and then the packs. As above, nobody has them who saved or removed something after
  // that.
  bool will_write = false;
};

// Begins to load the configuration, the keys and the settings of parity side by side; each is given to the
// first who asks for it, later ones ask the store. What cannot be had is asked for again when it is needed:
// then the error is told.
std::unique_ptr<Backend> with_prefetched_entrance(std::unique_ptr<Backend> below, const Entrance& entrance = {});

}  // namespace respaldo::store
