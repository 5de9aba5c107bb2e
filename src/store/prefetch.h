// What every command asks of a store far away before anything else, asked for at once.
#pragma once

#include <memory>

#include "store/backend.h"

namespace respaldo::store {

// Begins to load the configuration, the keys and the settings of parity side by side; each is given to the
// first who asks for it, later ones ask the store. What cannot be had is asked for again when it is needed:
// then the error is told. Nothing that others change while we work is among it.
std::unique_ptr<Backend> with_prefetched_entrance(std::unique_ptr<Backend> below);

}  // namespace respaldo::store
