// What parity has to say about a check: what it does not protect, and what it could heal.
#pragma once

#include <set>
#include <stop_token>

#include "base/progress.h"
#include "repo/repository.h"
#include "verify/findings.h"

namespace respaldo::verify {

// Objects without parity, parity without objects or settings; says nothing about repositories without parity, nor of
// packs that `index` names and that are not there: those are told as missing. `whole`: every index file was
// read. Reads no data.
void check_parity(repo::Repository& repository, const repo::Index& index, bool whole, Findings& findings);

// Reads the parity itself: of the packs in the subset, or so much of it, and of as many groups. Damaged
// parity heals nothing, and nothing else tells of it. Returns the bytes read.
std::uint64_t check_parity_data(repo::Repository& repository, const ReadSubset& subset, unsigned threads,
                                Findings& findings, Progress& progress, const std::stop_token& stop);

// Tries, without writing, whether the damaged objects can be healed, and tells each.
void check_healing(repo::Repository& repository, const std::set<store::Handle>& damaged, Findings& findings,
                   Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::verify
