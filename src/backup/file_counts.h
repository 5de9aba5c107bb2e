// New, changed, unmodified: a backup's files compared with its parent's.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "crypto/crypto.h"
#include "repo/repository.h"

namespace respaldo::backup {

// What is compared of a file or folder: a digest instead of content lists, which are long.
struct Fingerprint {
  std::string path;  // absolute within the backup
  bool is_folder = false;
  std::uint64_t size = 0;
  crypto::Digest digest{};  // of the content's ids, or of the subtree's id
};
Fingerprint fingerprint(std::string path, const repo::Node& node);

// The newest backup of the same host and paths that is not from the future: restic's choice of a parent.
std::optional<repo::NamedSnapshot> find_parent(const std::vector<repo::NamedSnapshot>& snapshots,
                                               const repo::Snapshot& next);

// Fills in the counts. What cannot be loaded of the parent counts as absent. Quick when `made` is ordered by
// folder.
void count_files(repo::SnapshotSummary& summary, const std::vector<Fingerprint>& made,
                 const repo::IndexedRepository& repository, const repo::Snapshot* parent);

}  // namespace respaldo::backup
