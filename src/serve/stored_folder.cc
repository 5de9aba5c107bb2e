#include "serve/stored_folder.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "serve/backup_list.h"
#include "view/volume_view.h"

namespace respaldo::serve {

namespace {

constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 62;

// The parts as one file with the attributes of the first. Absent when there are none.
std::optional<repo::Node> join(std::vector<repo::Node> parts) {
  if (parts.empty()) return std::nullopt;
  repo::Node joined = std::move(parts.front());
  joined.name = std::string(view::kImageName);
  joined.links = 1;
  joined.inode = 0;
  for (std::size_t number = 1; number < parts.size(); ++number) {
    const repo::Node part = std::move(parts[number]);
    if (part.size > kLargestFile || joined.size > kLargestFile - part.size)
      throw Error(ErrorKind::corrupt, "the image claims to be absurdly large");
    joined.size += part.size;
    joined.content.insert(joined.content.end(), part.content.begin(), part.content.end());
  }
  return joined;
}

std::uint64_t weight_of(const repo::Node& node) {
  std::uint64_t sum = sizeof node + node.name.size() + node.link_target.size() + node.user.size() +
                      node.group.size() + node.content.size() * sizeof(repo::BlobId);
  for (const repo::ExtendedAttribute& attribute : node.xattrs)
    sum += sizeof attribute + attribute.name.size() + attribute.value.size();
  return sum;
}

std::uint64_t weight_of(const StoredFolder& folder) {
  std::uint64_t sum = sizeof folder + (folder.joined ? weight_of(*folder.joined) : 0);
  for (const repo::Node& node : folder.nodes) sum += weight_of(node);
  return sum;
}

}  // namespace

const repo::Node& StoredFolder::at(std::uint32_t number) const {
  if (number == kJoined && joined) return *joined;
  if (number >= nodes.size()) throw Error(ErrorKind::corrupt, "an entry of a folder is gone");
  return nodes[number];
}

std::optional<std::uint32_t> StoredFolder::find(std::string_view name) const {
  if (joined && joined->name == name) return kJoined;
  const auto found = std::ranges::lower_bound(nodes, name, {}, &repo::Node::name);
  if (found == nodes.end() || found->name != name) return std::nullopt;
  return static_cast<std::uint32_t>(found - nodes.begin());
}

StoredFolder load_folder(const repo::IndexedRepository& repository, const repo::BlobId& tree,
                         bool joins_image) {
  StoredFolder folder;
  folder.nodes = repository.load_tree(tree).nodes;
  const std::size_t stored = folder.nodes.size();
  std::erase_if(folder.nodes, [](const repo::Node& node) {
    return !is_file_name(node.name) || node.type == repo::NodeType::unknown;
  });
  std::ranges::stable_sort(folder.nodes, {}, &repo::Node::name);
  const auto twice = std::ranges::unique(folder.nodes, {}, &repo::Node::name);
  folder.nodes.erase(twice.begin(), twice.end());
  folder.hidden = stored - folder.nodes.size();
  for (const repo::Node& node : folder.nodes) folder.folders += node.type == repo::NodeType::dir ? 1 : 0;
  if (!joins_image || folder.find(view::kImageName)) return folder;
  const auto parts = folder.find(view::kImageFolder);
  if (!parts || !folder.at(*parts).subtree) return folder;
  try {
    folder.joined = join(view::image_parts(repository, repository.load_tree(*folder.at(*parts).subtree)));
  } catch (const Error& error) {
    folder.problem = error.what();
  }
  return folder;
}

FolderCache::FolderPtr FolderCache::get(const repo::BlobId& tree, bool joins_image) {
  const Key key{tree, joins_image};
  std::promise<FolderPtr> promise;
  std::shared_future<FolderPtr> other;
  {
    std::lock_guard lock(mutex_);
    if (const auto found = entries_.find(key); found != entries_.end()) {
      uses_.splice(uses_.begin(), uses_, found->second.use);
      other = found->second.folder;
    } else {
      uses_.push_front(key);
      entries_.emplace(key, Entry{promise.get_future().share(), 0, uses_.begin()});
    }
  }
  if (other.valid()) {
    try {
      return other.get();
    } catch (const Error& error) {
      throw Error(error);  // each thread adds its context to one of its own
    }
  }
  try {
    const auto folder = std::make_shared<const StoredFolder>(load_folder(*repository_(), tree, joins_image));
    promise.set_value(folder);
    std::lock_guard lock(mutex_);
    Entry& entry = entries_.at(key);
    weight_ += entry.weight = weight_of(*folder);
    // The oldest go; never this one, nor those under way.
    for (auto at = uses_.end(); weight_ > capacity_ && at != uses_.begin();) {
      --at;
      const auto old = entries_.find(*at);
      if (old->second.weight == 0 || *at == key) continue;
      weight_ -= old->second.weight;
      entries_.erase(old);
      at = uses_.erase(at);
    }
    return folder;
  } catch (...) {
    {
      std::lock_guard lock(mutex_);
      const auto failed = entries_.find(key);
      uses_.erase(failed->second.use);
      entries_.erase(failed);
    }
    share_exception(promise);
    throw;
  }
}

}  // namespace respaldo::serve
