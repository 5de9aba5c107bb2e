#include "view/tree_walk.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::view {

namespace {

// No filesystem goes deeper; trees of a hostile repository may.
constexpr std::size_t kDeepest = 4096;
constexpr std::size_t kLongestPath = 1U << 20;

}  // namespace

TreeWalk::TreeWalk(const repo::IndexedRepository& repository, const repo::Node& root, std::string path)
    : repository_(repository) {
  while (path.ends_with('/')) path.pop_back();
  entry_.path = std::move(path);
  enter(root);
}

void TreeWalk::enter(const repo::Node& folder) {
  if (levels_.size() >= kDeepest || entry_.path.size() > kLongestPath)
    throw Error(ErrorKind::corrupt, fmt::format("{} lies too deep", printable(entry_.path.substr(0, 200))),
                "start farther down");
  if (folder.subtree) levels_.push_back({repository_.load_tree(*folder.subtree).nodes, 0, entry_.path.size()});
}

bool TreeWalk::next() {
  if (std::exchange(enter_, false)) enter(entry_.node);
  while (!levels_.empty()) {
    Level& level = levels_.back();
    entry_.path.resize(level.path_length);
    if (level.next == level.nodes.size()) {
      levels_.pop_back();
      continue;
    }
    entry_.node = std::move(level.nodes[level.next++]);
    entry_.path += '/';
    entry_.path += entry_.node.name;
    entry_.depth = levels_.size();
    enter_ = entry_.node.type == repo::NodeType::dir;
    return true;
  }
  return false;
}

}  // namespace respaldo::view
