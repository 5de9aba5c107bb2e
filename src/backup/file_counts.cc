#include "backup/file_counts.h"

#include <algorithm>

#include "base/error.h"
#include "view/volume_view.h"

namespace respaldo::backup {

namespace {

// One folder of the parent at a time.
class ParentFolders {
 public:
  ParentFolders(const repo::IndexedRepository& repository, const repo::Snapshot* parent)
      : repository_(repository), parent_(parent) {}

  const Fingerprint* find(const std::string& path) {
    if (parent_ == nullptr) return nullptr;
    const std::string folder = path.substr(0, path.rfind('/'));
    if (folder_ != folder) load(folder);
    const auto found = entries_.find(path);
    return found == entries_.end() ? nullptr : &found->second;
  }

 private:
  void load(const std::string& folder) {
    entries_.clear();
    folder_ = folder;
    try {
      const auto node = view::find_node(repository_, *parent_, folder);
      if (!node || !node->subtree) return;
      for (const repo::Node& child : repository_.load_tree(*node->subtree).nodes) {
        std::string path = folder + "/" + child.name;
        entries_.insert_or_assign(path, fingerprint(path, child));
      }
    } catch (const Error&) {
      entries_.clear();
    }
  }

  const repo::IndexedRepository& repository_;
  const repo::Snapshot* const parent_;
  std::optional<std::string> folder_;
  std::map<std::string, Fingerprint> entries_;
};

std::vector<std::string> sorted(std::vector<std::string> paths) {
  std::ranges::sort(paths);
  return paths;
}

bool is_after(const repo::Timestamp& a, const repo::Timestamp& b) {
  return std::pair(a.seconds, a.nanoseconds) > std::pair(b.seconds, b.nanoseconds);
}

}  // namespace

Fingerprint fingerprint(std::string path, const repo::Node& node) {
  Fingerprint result{std::move(path), node.type == repo::NodeType::dir, node.size, {}};
  crypto::Sha256 hash;
  for (const repo::BlobId& id : node.content) hash.update(id.bytes);
  if (node.subtree) hash.update(node.subtree->bytes);
  result.digest = hash.finish();
  return result;
}

std::optional<repo::NamedSnapshot> find_parent(const std::vector<repo::NamedSnapshot>& snapshots,
                                               const repo::Snapshot& next) {
  const auto paths = sorted(next.paths);
  const repo::NamedSnapshot* newest = nullptr;
  for (const repo::NamedSnapshot& candidate : snapshots) {
    const repo::Snapshot& old = candidate.snapshot;
    if (old.hostname != next.hostname || is_after(old.time, next.time) || sorted(old.paths) != paths)
      continue;
    if (newest == nullptr || is_after(old.time, newest->snapshot.time)) newest = &candidate;
  }
  if (newest == nullptr) return std::nullopt;
  return *newest;
}

void count_files(repo::SnapshotSummary& summary, const std::vector<Fingerprint>& made,
                 const repo::IndexedRepository& repository, const repo::Snapshot* parent) {
  ParentFolders folders(repository, parent);
  for (const Fingerprint& now : made) {
    const Fingerprint* old = folders.find(now.path);
    const bool known = old != nullptr && old->is_folder == now.is_folder;
    const bool equal = known && old->size == now.size && old->digest == now.digest;
    if (now.is_folder) {
      ++(equal ? summary.dirs_unmodified : known ? summary.dirs_changed : summary.dirs_new);
    } else {
      ++(equal ? summary.files_unmodified : known ? summary.files_changed : summary.files_new);
      ++summary.total_files_processed;
      summary.total_bytes_processed += now.size;
    }
  }
}

}  // namespace respaldo::backup
