// The file view's trees, made of the chunks that the pass has stored.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "backup/chunk_map.h"
#include "backup/file_view.h"
#include "repo/repository.h"
#include "repo/snapshot.h"

namespace respaldo::backup {

struct FileTreeInput {
  const FileView& view;
  const ChunkMap& chunks;
  const chunk::ContentCutter& content_cutter;  // for content that no chunks hold
  bool skip_unreadable = false;  // of such content: zeros instead, and a finding; else the file is left out
  std::uint64_t device_id = 0;   // st_dev of all its files
  // Stores a blob and gives its id. Called by threads with numbers below `workers`, each by one at a time.
  std::function<repo::BlobId(unsigned worker, repo::BlobType, ByteView)> save;
  unsigned workers = 1;
  const repo::IndexedRepository& repository;
  const repo::Node* parent = nullptr;  // the same folder in the backup that this one follows
  std::size_t longest_tree = repo::kLongestTree;
};

struct FileTreeResult {
  repo::Node root;                    // the root folder, with its own metadata; without a name
  std::vector<fs::Finding> findings;  // what was found wrong now, apart from the reader's own findings
  std::uint64_t finding_count = 0;
};

// Saves the trees of all folders, leaves first, and counts files and folders against the parent's into
// `counts`. Contents that no chunks of the pass hold (inline and compressed data, what the journal would
// recover, blocks that two files claim) are read and saved here. Error(io, corrupt) only from the repository:
// what cannot be read is a finding. REQUIRES the reader to have a root.
FileTreeResult save_file_trees(const FileTreeInput& input, repo::SnapshotSummary& counts,
                               const std::stop_token& stop);

}  // namespace respaldo::backup
