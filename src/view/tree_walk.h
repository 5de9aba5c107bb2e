// Everything below a stored folder, one entry after another.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "repo/repository.h"
#include "view/trees_ahead.h"

namespace respaldo::view {

// How far a walk goes. To look: what is printed of a deep tree is as long as its depth squared, and whoever looks may
// start farther down. To restore: deeper than people go, and little memory; no filesystem's names make a longer path.
struct WalkBounds {
  std::size_t deepest = 0, longest_path = 0;
};
inline constexpr WalkBounds kToLook{4096, 1U << 20}, kToRestore{1U << 16, 256U << 16};

// For who goes nearly everywhere: other threads read the trees (view/trees_ahead.h).
enum class ReadAhead { no, yes };

// A walk in tree order (names by bytes), parents before their children. No recursion; depth and length of
// paths are bounded, so that a hostile tree exhausts neither stack nor memory (it may still be very long:
// trees can share subtrees, so callers look at their stop token between entries). Names are as stored: they
// may be empty,
// ".." or hold '/'. Not thread-safe. The repository must outlive it.
class TreeWalk {
 public:
  struct Entry {
    std::string path;  // `path` of the start, then "/name" for each level; "/name" when that was "/" or ""
    repo::Node node;
    std::size_t depth = 0;  // 1: directly below the start
  };

  // `root` is a folder; it is not an entry itself.
  TreeWalk(const repo::IndexedRepository& repository, const repo::Node& root, std::string path,
           WalkBounds bounds = kToLook, ReadAhead ahead = ReadAhead::no);

  // Moves on; false at the end. The last entry, if it is a folder, is entered now: Error(corrupt or
  // not_found) when its tree cannot be read or lies too deep, after which the walk goes on with what follows
  // it.
  bool next();
  const Entry& entry() const { return entry_; }
  repo::Node& node() { return entry_.node; }  // may be taken away
  // Does not enter the folder that entry() is.
  void skip();

 private:
  struct Level {
    std::vector<repo::Node> nodes;
    std::vector<std::shared_ptr<TreesAhead::Folder>> folders;  // when they are read ahead
    std::size_t next = 0, next_folder = 0, path_length = 0;
  };
  void require_not_too_deep() const;
  void enter();
  void descend(TreesAhead::Contents contents);

  const repo::IndexedRepository& repository_;
  const WalkBounds bounds_;
  std::vector<Level> levels_;
  Entry entry_;  // its path is never copied: it may be long
  bool enter_ = false;
  std::shared_ptr<TreesAhead::Folder> folder_;  // that is entered next
  std::optional<TreesAhead> ahead_;
};

}  // namespace respaldo::view
