#include "view/shown_path.h"

#include <algorithm>
#include <vector>

#include "base/printable.h"
#include "view/volume_view.h"

namespace respaldo::view {

namespace {

constexpr std::size_t kMostPlaces = 64;  // that are shown alike; a hostile tree may hold many

}  // namespace

std::optional<FoundPath> find_shown(const repo::IndexedRepository& repository, const repo::Snapshot& snapshot,
                                    std::string_view path) {
  if (auto node = find_node(repository, snapshot, path))
    return FoundPath{std::string(path), std::move(*node)};
  if (path.find("\\x") == path.npos) return std::nullopt;
  repo::Node top;
  top.type = repo::NodeType::dir;
  top.subtree = snapshot.tree;
  std::vector<FoundPath> places;
  places.push_back({"", std::move(top)});
  const bool absolute = path.starts_with('/');
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), name.size() + 1));
    if (name.empty() || name == ".") continue;
    std::vector<FoundPath> next;
    for (const FoundPath& place : places) {
      if (place.node.type != repo::NodeType::dir || !place.node.subtree) continue;
      const repo::Tree tree = repository.load_tree(*place.node.subtree);
      const auto add_first = [&](const auto& wanted) {
        const auto found = std::ranges::find_if(tree.nodes, wanted);
        if (found == tree.nodes.end() || next.size() == kMostPlaces) return;
        next.push_back({place.path + (place.path.empty() && !absolute ? "" : "/") + found->name, *found});
      };
      add_first([&](const repo::Node& node) { return node.name == name; });
      add_first([&](const repo::Node& node) { return node.name != name && printable(node.name) == name; });
    }
    places = std::move(next);
  }
  if (places.empty()) return std::nullopt;
  return std::move(places.front());
}

std::optional<FoundPath> find_shown(const repo::IndexedRepository& repository, const repo::Node& folder,
                                    std::string_view path) {
  if (folder.type != repo::NodeType::dir || !folder.subtree) return std::nullopt;
  repo::Snapshot snapshot;
  snapshot.tree = *folder.subtree;
  return find_shown(repository, snapshot, path);
}

}  // namespace respaldo::view
