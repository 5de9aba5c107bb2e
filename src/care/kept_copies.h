// Of a blob that is stored more than once: the copy that stays is read before another one goes.
#pragma once

#include <stop_token>

#include "base/progress.h"
#include "care/blob_bits.h"
#include "care/prune_plan.h"
#include "repo/repository.h"

namespace respaldo::care {

// Reads those copies alone, past the cache. False when not every blob has a whole copy that stays: what is
// damaged is in `bad` then, to plan with it again. Error(corrupt) when a blob has no whole copy at all.
bool prove_kept_copies(const repo::IndexedRepository& repository, const BlobBits& used, const PrunePlan& plan,
                       unsigned threads, BadCopies& bad, Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::care
