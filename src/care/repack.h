// Blobs moved from old packs into new ones.
#pragma once

#include <stop_token>

#include "base/progress.h"
#include "care/prune_plan.h"
#include "repo/repository.h"

namespace respaldo::care {

struct RepackOptions {
  unsigned threads = 2;
  std::uint64_t pack_size = 16U << 20;  // bytes
  bool compress = false;                // data that is not compressed
};

// Copies plan.to_copy out of the packs of fate `repack`: each blob is opened and hashed, and goes into a new
// pack as it is stored (trees that are not compressed are compressed). New packs and an index of them are
// durable when it returns; nothing is removed. Error(corrupt) when a blob cannot be read, in no copy.
void repack(const repo::IndexedRepository& repository, PrunePlan& plan, const RepackOptions& options,
            Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::care
