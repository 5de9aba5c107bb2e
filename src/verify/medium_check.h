// Was it really written? What a run stored is read back from the medium, before anybody relies on it.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repo/repository.h"

namespace respaldo::verify {

struct MediumReport {
  std::uint64_t objects = 0, bytes = 0;
  std::vector<store::Handle> damaged;  // do not read back as they were written
  std::vector<std::string> healed;     // sentences; these are whole again
  std::vector<std::string> problems;   // sentences, one for each in `damaged`
  std::vector<std::string> parity_problems;  // sentences: parity that does not read back; the backup is whole without
  // The least certain way in which anything was read.
  store::Medium medium = store::Medium::direct;
};

// Reads `written` past the page cache and compares each object with its name, the SHA-256 of its contents, and parity
// with its own checksums. What still lies whole in memory is written again, to another place of the medium; else it is
// healed where the repository has parity. REQUIRES that everything is durable.
MediumReport check_on_medium(repo::Repository& repository, const std::vector<store::Handle>& written,
                             Progress& progress, const std::stop_token& stop);

// Takes damaged packs, and index files of this run that name them, out of use: index files are written anew
// without the packs, durable, before the old ones go. So no later run takes the damaged blobs for stored.
void forget_damaged(repo::Repository& repository, const std::vector<store::Handle>& written,
                    const std::vector<store::Handle>& damaged);

}  // namespace respaldo::verify
