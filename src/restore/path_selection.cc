#include "restore/path_selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/printable.h"
#include "restore/beneath.h"

namespace respaldo::restore {

namespace {

// Takes the first name off a path.
std::string_view next_name(std::string_view& path) {
  const std::string_view name = path.substr(0, path.find('/'));
  path.remove_prefix(std::min(path.size(), name.size() + 1));
  return name;
}

std::string clean(const std::string& path) {
  std::string clean;
  for (std::string_view rest = path; !rest.empty();) {
    const std::string_view name = next_name(rest);
    if (name.empty() || name == ".") continue;
    if (const char* why = name_problem(name))
      throw Error(ErrorKind::usage, fmt::format("{}: {}", printable(path), why));
    if (!clean.empty()) clean += '/';
    clean += name;
  }
  return clean;
}

void require_path(const repo::IndexedRepository& repository, const repo::Node& root,
                  const std::string& path) {
  repo::Node node;
  node.type = repo::NodeType::dir;
  node.subtree = root.subtree;
  for (std::string_view rest = path; !rest.empty();) {
    const std::string_view name = next_name(rest);
    repo::Tree tree;
    if (node.type == repo::NodeType::dir && node.subtree) tree = repository.load_tree(*node.subtree);
    const auto found = std::ranges::find(tree.nodes, name, &repo::Node::name);
    if (found == tree.nodes.end())
      throw Error(ErrorKind::not_found, fmt::format("the backup does not hold {}", printable(path)),
                  "`respaldo ls` shows what there is");
    node = std::move(*found);
  }
}

}  // namespace

bool names_top(std::string_view path) {
  while (!path.empty())
    if (const std::string_view name = next_name(path); !name.empty() && name != ".") return false;
  return true;
}

PathSelection::PathSelection(const std::vector<std::string>& paths) : all_(paths.empty()) {
  for (const std::string& path : paths) {
    paths_.push_back(clean(path));
    if (paths_.back().empty()) all_ = true;
  }
  std::ranges::sort(paths_);
}

void PathSelection::require(const repo::IndexedRepository& repository, const repo::Node& root) const {
  for (const std::string& path : paths_) require_path(repository, root, path);
}

PathSelection::Part PathSelection::part(const repo::Node& node, std::string_view path, std::size_t depth) {
  if (depth <= wanted_depth_) wanted_depth_ = 0;
  if (all_ || wanted_depth_ != 0) return Part::wanted;
  // One with a slash in it would pass for a path.
  if (name_problem(node.name) != nullptr) return Part::none;
  if (names(path)) {
    if (node.type == repo::NodeType::dir) wanted_depth_ = depth;
    return Part::wanted;
  }
  return node.type == repo::NodeType::dir && below(path) ? Part::way : Part::none;
}

bool PathSelection::names(std::string_view path) const { return std::ranges::binary_search(paths_, path); }

bool PathSelection::below(std::string_view path) const {
  const std::string start = std::string(path) + "/";
  const auto at = std::ranges::lower_bound(paths_, start);
  return at != paths_.end() && at->starts_with(start);
}

}  // namespace respaldo::restore
