// The folders and files of a backup, built from the leaves up.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backup/file_counts.h"
#include "repo/id.h"
#include "repo/tree.h"

namespace respaldo::backup {

// Nodes that respaldo itself makes: mode 0600 (folders 0700), owner 0:0, and inode numbers
// made from the path, so that they are the same in each backup and differ from each other. They lie far above
// the inode numbers of any filesystem: restic takes two files with one (inode, device_id) for hard links of
// each other. What has the same content as in the backup before keeps that one's time, so that a backup of an
// unchanged volume stores no tree again.
class TreeBuilder {
 public:
  using Find = std::function<const ParentFolders::Entry*(const std::string& path)>;
  // `save` stores a tree and gives its id; `before` finds what the parent backup had there.
  TreeBuilder(repo::Timestamp time, std::function<repo::BlobId(repo::Tree)> save, Find before = {})
      : time_(time), save_(std::move(save)), before_(std::move(before)) {}

  // `path` is absolute within the backup; its last part is the node's name.
  repo::Node file(std::string_view path, std::uint64_t size, std::vector<repo::BlobId> content);
  repo::Node folder(std::string_view path, repo::Tree tree);
  repo::BlobId root(repo::Tree tree) { return save_(std::move(tree)); }
  // Everything made so far.
  const std::vector<Fingerprint>& made() const { return made_; }

 private:
  repo::Node node(std::string_view path) const;
  void finish(repo::Node& node, std::string_view path);
  const repo::Timestamp time_;
  const std::function<repo::BlobId(repo::Tree)> save_;
  const Find before_;
  std::vector<Fingerprint> made_;
};

// Inode number for a path of a backup.
std::uint64_t synthetic_inode(std::string_view path);

}  // namespace respaldo::backup
