#include "backup/file_counts.h"

#include <algorithm>

#include "base/error.h"
#include "view/volume_view.h"

namespace respaldo::backup {

namespace {

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

const ParentFolders::Entry* ParentFolders::find(const std::string& path) {
  if (parent_ == nullptr) return nullptr;
  const std::string above = path.substr(0, path.rfind('/'));
  const auto [folder, is_new] = folders_.try_emplace(above);
  if (is_new) load(above, folder->second);
  const auto found = folder->second.find(path);
  return found == folder->second.end() ? nullptr : &found->second;
}

void ParentFolders::load(const std::string& path, Folder& folder) const {
  try {
    const auto node = view::find_node(repository_, *parent_, path);
    if (!node || !node->subtree) return;
    for (const repo::Node& child : repository_.load_tree(*node->subtree).nodes) {
      std::string name = path + "/" + child.name;
      folder.insert_or_assign(
          name, Entry{fingerprint(name, child), child.type, child.mtime, child.atime, child.ctime});
    }
  } catch (const Error&) {
    folder.clear();
  }
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
                 ParentFolders& parent) {
  for (const Fingerprint& now : made) {
    const ParentFolders::Entry* old = parent.find(now.path);
    const bool known = old != nullptr && old->print.is_folder == now.is_folder;
    const bool equal = known && old->print.size == now.size && old->print.digest == now.digest;
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
