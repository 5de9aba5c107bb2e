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

// The parent backup's nodes, without their content lists. Each folder is loaded once: the one that holds the
// parts of a large image is long. Keeps what it loaded. Not thread-safe.
class ParentFolders {
 public:
  struct Entry {
    Fingerprint print;
    repo::NodeType type = repo::NodeType::file;
    repo::Timestamp mtime, atime, ctime;
  };
  // `parent`: null for none. Both must outlive it.
  ParentFolders(const repo::IndexedRepository& repository, const repo::Snapshot* parent)
      : repository_(repository), parent_(parent) {}
  // Null when it is not there, or cannot be loaded. Valid as long as this is.
  const Entry* find(const std::string& path);

 private:
  using Folder = std::map<std::string, Entry>;
  void load(const std::string& path, Folder& folder) const;

  const repo::IndexedRepository& repository_;
  const repo::Snapshot* const parent_;
  std::map<std::string, Folder> folders_;
};

// The newest backup of the same host and paths that is not from the future: restic's choice of a parent.
std::optional<repo::NamedSnapshot> find_parent(const std::vector<repo::NamedSnapshot>& snapshots,
                                               const repo::Snapshot& next);

// Fills in the counts. What cannot be loaded of the parent counts as absent.
void count_files(repo::SnapshotSummary& summary, const std::vector<Fingerprint>& made, ParentFolders& parent);

}  // namespace respaldo::backup
