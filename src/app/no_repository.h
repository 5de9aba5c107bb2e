// What is told where there is no configuration, and so nothing that can be opened.
#pragma once

#include <string>

#include "store/backend.h"

namespace respaldo::app {

// Error(corrupt) when everything else of a repository is there: it was lost, and parity may have it. `location` as
// messages show it.
void require_not_lost(store::Backend& store, const std::string& location);

// Does nothing where there is a configuration. Else as above, or NoRepository with `hint` when there never was one.
void require_repository(store::Backend& store, const std::string& location, const std::string& hint);

}  // namespace respaldo::app
