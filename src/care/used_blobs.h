// What backups need: every blob that can be reached from them.
#pragma once

#include <stop_token>
#include <vector>

#include "base/progress.h"
#include "care/blob_bits.h"
#include "repo/repository.h"

namespace respaldo::care {

// Reads each tree of the backups once. Error(corrupt) when a tree cannot be read, or when a tree or blob is
// in no index: what is needed is then not known, or lost, and nothing may be removed.
BlobBits find_used_blobs(const repo::IndexedRepository& repository,
                         const std::vector<repo::NamedSnapshot>& backups, unsigned threads,
                         Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::care
