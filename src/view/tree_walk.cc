#include "view/tree_walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::view {

namespace {

constexpr unsigned kMostReaders = 4;

// Both ends of what is long.
std::string told(const std::string& path) {
  constexpr std::size_t kEnd = 100;
  if (path.size() <= 2 * kEnd) return printable(path);
  return printable(path.substr(0, kEnd)) + "..." + printable(path.substr(path.size() - kEnd));
}

}  // namespace

TreeWalk::TreeWalk(const repo::IndexedRepository& repository, const repo::Node& root, std::string path,
                   WalkBounds bounds, ReadAhead ahead)
    : repository_(repository), bounds_(bounds) {
  while (path.ends_with('/')) path.pop_back();
  entry_.path = std::move(path);
  require_not_too_deep();
  if (!root.subtree) return;
  if (ahead == ReadAhead::yes) {
    ahead_.emplace(repository, std::clamp(std::thread::hardware_concurrency(), 1U, kMostReaders));
    descend(ahead_->begin(*root.subtree));
  } else {
    descend({repository.load_tree(*root.subtree).nodes, {}});
  }
}

void TreeWalk::descend(TreesAhead::Contents contents) {
  levels_.push_back({std::move(contents.nodes), std::move(contents.folders), 0, 0, entry_.path.size()});
}

void TreeWalk::require_not_too_deep() const {
  if (levels_.size() >= bounds_.deepest || entry_.path.size() > bounds_.longest_path)
    throw Error(ErrorKind::corrupt, fmt::format("{} lies too deep", told(entry_.path)), "start farther down");
}

void TreeWalk::enter() {
  const auto folder = std::exchange(folder_, nullptr);
  try {
    require_not_too_deep();
  } catch (const Error&) {
    if (folder) ahead_->pass_over(folder);
    throw;
  }
  if (!entry_.node.subtree) return;
  if (folder)
    descend(ahead_->take(folder));
  else
    descend({repository_.load_tree(*entry_.node.subtree).nodes, {}});
}

void TreeWalk::skip() {
  enter_ = false;
  if (folder_) ahead_->pass_over(std::exchange(folder_, nullptr));
}

bool TreeWalk::next() {
  if (std::exchange(enter_, false)) enter();
  while (!levels_.empty()) {
    Level& level = levels_.back();
    entry_.path.resize(level.path_length);
    if (level.next == level.nodes.size()) {
      levels_.pop_back();
      continue;
    }
    entry_.node = std::move(level.nodes[level.next++]);
    // A folder that is done with does not stay.
    if (ahead_ && TreesAhead::is_folder(entry_.node)) folder_ = std::move(level.folders[level.next_folder++]);
    entry_.path += '/';
    entry_.path += entry_.node.name;
    entry_.depth = levels_.size();
    enter_ = entry_.node.type == repo::NodeType::dir;
    return true;
  }
  return false;
}

}  // namespace respaldo::view
