// What every command asks of a store far away before anything else, asked for at once.
#pragma once

#include <memory>
#include <string>

#include "store/backend.h"

namespace respaldo::store {

struct Entrance {
  std::string key{};  // name of a key that is at hand: when it is listed, no key is loaded early
  // Listings for who only reads: the backups, and then the indexes. Neither is given to anybody who has saved or
  // removed something (a lock) before asking.
  bool snapshots = false, indexes = false;
  // For who locks and then writes: the locks at once, for a first look; as soon as a lock is saved the locks again, and
  // behind them the backups, the indexes and the packs, in no order: an index may name a pack that is not listed yet. As
  // above, nobody has them who saved or removed something after that.
  bool will_write = false;
};

// Begins to load the configuration, the keys and the settings of parity (or what has them when they are
// lost) side by side; each is given to the
// first who asks for it, later ones ask the store. What cannot be had is asked for again when it is needed:
// then the error is told.
std::unique_ptr<Backend> with_prefetched_entrance(std::unique_ptr<Backend> below, const Entrance& entrance = {});

}  // namespace respaldo::store
