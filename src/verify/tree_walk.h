// Every tree of every backup, each once.
#pragma once

#include <stop_token>
#include <vector>

#include "base/progress.h"
#include "repo/repository.h"
#include "verify/findings.h"

namespace respaldo::verify {

// Loads (and so verifies) all trees reachable from the backups, and looks up every blob that their files
// name. A tree or blob that several backups share is told once, with the first place found.
void check_trees(const repo::IndexedRepository& repository, const std::vector<repo::NamedSnapshot>& backups,
                 unsigned threads, Findings& findings, Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::verify
