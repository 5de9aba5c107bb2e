#include "view/tree_walk.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::view {

namespace {

// Both ends of what is long.
std::string told(const std::string& path) {
  constexpr std::size_t kEnd = 100;
  if (path.size() <= 2 * kEnd) return printable(path);
  return printable(path.substr(0, kEnd)) + "..." + printable(path.substr(path.size() - kEnd));
}

}  // namespace

TreeWalk::TreeWalk(const repo::IndexedRepository& repository, const repo::Node& root, std::string path,
                   WalkBounds bounds)
    : repository_(repository), bounds_(bounds) {
  while (path.ends_with('/')) path.pop_back();
  entry_.path = std::move(path);
  enter(root);
}

void TreeWalk::enter(const repo::Node& folder) {
  if (levels_.size() >= bounds_.deepest || entry_.path.size() > bounds_.longest_path)
    throw Error(ErrorKind::corrupt, fmt::format("{} lies too deep", told(entry_.path)), "start farther down");
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
