// What the indexes of a repository name, for the parity, which has no key.
#pragma once

#include <stop_token>

#include "parity/named_packs.h"
#include "repo/repository.h"

namespace respaldo::care {

// Not known when an index file cannot be read, or when there are packs and no index names any. Reads all
// indexes.
parity::NamedPacks named_packs(repo::Repository& repository, const std::stop_token& stop);
// The same by what was loaded already. `whole`: every index file was read.
parity::NamedPacks named_packs(repo::Repository& repository, const repo::Index& index, bool whole);

}  // namespace respaldo::care
