// The volumes of backups: do image and facts agree?
#pragma once

#include <stop_token>
#include <vector>

#include "repo/repository.h"
#include "verify/findings.h"

namespace respaldo::verify {

// For each volume of each backup: the image's parts are there, its blobs add up to its size, volume.json can
// be read and tells the same names and size. Each damaged backup is named: they cannot be restored whole.
void check_volumes(const repo::IndexedRepository& repository, const std::vector<repo::NamedSnapshot>& backups,
                   unsigned threads, Findings& findings, const std::stop_token& stop);

}  // namespace respaldo::verify
