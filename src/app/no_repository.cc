#include "app/no_repository.h"

#include <fmt/format.h>

#include "app/context.h"
#include "base/printable.h"
#include "parity/settings.h"

namespace respaldo::app {

namespace {

bool holds(store::Backend& store, store::FileType type) {
  try {
    return !store.list(type).empty();
  } catch (const Error&) {
    return false;  // where nothing is, a bucket for example, nothing can be listed
  }
}

bool has_parity(store::Backend& store) {
  try {
    return parity::load_settings(store).has_value();
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

void require_not_lost(store::Backend& store, const std::string& location) {
  using store::FileType;
  const bool parity = has_parity(store);
  // An `init` that was killed leaves a key at most: the configuration comes last.
  if (!holds(store, FileType::index) && !holds(store, FileType::snapshot) && !(parity && holds(store, FileType::key)))
    return;
  throw Error(ErrorKind::corrupt,
              fmt::format("the repository at {} has lost its configuration, the file `config`", printable(location)),
              parity ? "`respaldo check --repair` brings it back out of parity"
                     : "bring the file back from a copy of the repository");
}

void require_repository(store::Backend& store, const std::string& location, const std::string& hint) {
  if (store.stat({store::FileType::config, ""})) return;
  require_not_lost(store, location);
  throw NoRepository(Error(ErrorKind::not_found, fmt::format("there is no repository at {}", location), hint));
}

}  // namespace respaldo::app
