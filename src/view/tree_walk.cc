#include "view/tree_walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::view {

namespace {

constexpr unsigned kReaders = 4;

// Both ends of what is long.
std::string told(const std::string& path) {
  constexpr std::size_t kEnd = 100;
  if (path.size() <= 2 * kEnd) return printable(path);
  return printable(path.substr(0, kEnd)) + "..." + printable(path.substr(path.size() - kEnd));
}

}  // namespace

TreeWalk::TreeWalk(const repo::IndexedRepository& repository, const repo::Node& root, std::string path,
                   WalkBounds bounds, ReadAhead ahead)
    : bounds_(bounds),
      trees_(repository, ahead == ReadAhead::yes ? std::clamp(std::thread::hardware_concurrency(), 1U, kReaders) : 0) {
  while (path.ends_with('/')) path.pop_back();
  entry_.path = std::move(path);
  require_not_too_deep();
  if (root.subtree) levels_.push_back({trees_.begin(*root.subtree), 0, 0, entry_.path.size()});
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
    trees_.pass_over(*folder);
    throw;
  }
  levels_.push_back({trees_.take(*folder), 0, 0, entry_.path.size()});
}

void TreeWalk::skip() {
  if (const auto folder = std::exchange(folder_, nullptr)) trees_.pass_over(*folder);
}

bool TreeWalk::next() {
  if (folder_) enter();
  while (!levels_.empty()) {
    Level& level = levels_.back();
    entry_.path.resize(level.path_length);
    if (level.next == level.contents.nodes.size()) {
      levels_.pop_back();
      continue;
    }
    entry_.node = std::move(level.contents.nodes[level.next++]);
    entry_.path += '/';
    entry_.path += entry_.node.name;
    entry_.depth = levels_.size();
    if (TreesAhead::is_folder(entry_.node)) folder_ = level.contents.folders[level.next_folder++];
    return true;
  }
  return false;
}

}  // namespace respaldo::view
