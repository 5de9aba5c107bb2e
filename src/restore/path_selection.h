// Which stored files are wanted.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "repo/repository.h"

namespace respaldo::restore {

// Of a path: the folder itself, written as "", "/", "." and the like.
bool names_top(std::string_view path);

// Paths below a stored folder, and all that lies below them. It follows one walk.
class PathSelection {
 public:
  // "/" separated, raw bytes; more slashes and "." do not matter; none, or the folder itself: everything.
  // Error(usage) for what no path can be.
  explicit PathSelection(const std::vector<std::string>& paths);

  // Error(not_found) when `root` does not hold one of them.
  void require(const repo::IndexedRepository& repository, const repo::Node& root) const;
  bool all() const { return all_; }

  enum class Part {
    none,
    way,  // a folder of which only something below is wanted
    wanted
  };
  // For the entries of a TreeWalk in their order, `path` without a slash before it. With a name that no file
  // can have it is wanted only as part of a wanted folder.
  Part part(const repo::Node& node, std::string_view path, std::size_t depth);

 private:
  bool names(std::string_view path) const;
  bool below(std::string_view path) const;

  std::vector<std::string> paths_;  // sorted
  bool all_ = false;
  std::size_t wanted_depth_ = 0;  // of the wanted folder that the walk is in; 0: in none
};

}  // namespace respaldo::restore
