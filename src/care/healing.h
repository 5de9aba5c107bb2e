// What parity can heal need not be given up.
#pragma once

#include <set>
#include <stop_token>

#include "base/progress.h"
#include "repo/repository.h"

namespace respaldo::care {

// Before damage is made the best of: Error(refused) when parity could heal any of these objects, damaged or
// not there, or when there is parity whose settings are lost. Reads them, and changes nothing. Without parity there is
// nothing to heal with.
void require_beyond_healing(repo::Repository& repository, const std::set<store::Handle>& objects,
                            Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::care
