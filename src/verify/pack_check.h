// Packs against the index, and against themselves.
#pragma once

#include <cstdint>
#include <stop_token>
#include <unordered_map>

#include "base/progress.h"
#include "repo/repository.h"
#include "verify/findings.h"
#include "verify/losses.h"

namespace respaldo::verify {

// Packs that no index names.
struct UnreferencedPacks {
  std::uint64_t count = 0, bytes = 0;
};
// Presence and size of every pack that the index names; packs that no index names, or several. Reads no data.
UnreferencedPacks check_pack_list(repo::Repository& repository, const repo::Index& index, DamagedPlaces& damaged,
                                  Findings& findings);

// What is to be read of so many files, by name and size.
std::unordered_map<repo::PackId, std::uint64_t> select(std::unordered_map<repo::PackId, std::uint64_t> stored,
                                                       const ReadSubset& subset);

// Reads every pack that the index names: its name is the SHA-256 of its bytes, its header tells the same
// blobs as the index, and each of them opens, decompresses and hashes to its id. Packs that are missing or of
// a wrong size are told by check_pack_list; the latter are read as far as they go. Memory for each thread: a
// piece of 16 MiB of a pack, or a longer blob, and 16 MiB of plain bytes, or a longer blob. Returns the bytes read.
std::uint64_t check_pack_data(const repo::IndexedRepository& repository, const ReadSubset& subset,
                              unsigned threads, DamagedPlaces& damaged, Findings& findings,
                              Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::verify
