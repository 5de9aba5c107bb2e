#include "view/tree_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/printable.h"
#include "os/thread_group.h"
#include "view/tree_walk.h"

namespace respaldo::view {

namespace {

bool is_folder(const repo::Node* node) {
  return node != nullptr && node->type == repo::NodeType::dir && node->subtree.has_value();
}

bool same_attributes(std::vector<repo::ExtendedAttribute> before,
                     std::vector<repo::ExtendedAttribute> after) {
  const auto order = [](const repo::ExtendedAttribute& a, const repo::ExtendedAttribute& b) {
    return std::tie(a.name, a.value) < std::tie(b.name, b.value);
  };
  std::ranges::sort(before, order);
  std::ranges::sort(after, order);
  return before == after;
}

// "/" and "//a/b/" as "" and "/a/b".
std::string clean(const std::string& path) {
  std::string result;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    if (end > at) result += "/" + path.substr(at, end - at);
    at = end + 1;
  }
  return result;
}

bool lies_in(const std::string& path, const std::string& folder) {
  return path == folder || path.starts_with(folder + "/");
}

std::vector<ImageChunk> content_chunks(const repo::IndexedRepository& repository, const repo::Node& file) {
  std::vector<ImageChunk> chunks;
  chunks.reserve(file.content.size());
  std::uint64_t at = 0;
  for (const repo::BlobId& id : file.content) {
    const auto location = repository.index().find(repo::BlobType::data, id);
    if (!location)
      throw Error(ErrorKind::corrupt, fmt::format("its blob {} is in no index", id.short_hex()), "run: respaldo check");
    const std::uint32_t length = location->plain_length();
    if (length > 0) chunks.push_back({at, length, id});
    at += length;
  }
  if (at != file.size)
    throw Error(ErrorKind::corrupt, fmt::format("its blobs add up to {} bytes, but its size is {}", at, file.size),
                "run: respaldo check");
  return chunks;
}

}  // namespace

std::vector<std::string> metadata_changes(const repo::Node& before, const repo::Node& after) {
  std::vector<std::string> changes;
  if ((before.mode & 07777) != (after.mode & 07777)) changes.emplace_back("mode");
  if (before.uid != after.uid || before.gid != after.gid || before.user != after.user ||
      before.group != after.group)
    changes.emplace_back("owner");
  // The same moment may be written with different zones.
  if (before.mtime.seconds != after.mtime.seconds || before.mtime.nanoseconds != after.mtime.nanoseconds)
    changes.emplace_back("time");
  if (!same_attributes(before.xattrs, after.xattrs)) changes.emplace_back("attributes");
  return changes;
}

std::vector<StoredVolume> TreeDiff::volumes(const repo::Snapshot& snapshot) {
  try {
    return stored_volumes(repository_, snapshot);
  } catch (const Error& error) {
    report_.problem("/", error);
    return {};
  }
}

std::vector<repo::Node> TreeDiff::nodes(const repo::Node* folder) {
  if (!is_folder(folder)) return {};
  auto all = repository_.load_tree(*folder->subtree).nodes;
  // Foreign trees may be out of order.
  std::ranges::sort(all, {}, &repo::Node::name);
  return all;
}

bool TreeDiff::same_content(const repo::Node& before, const repo::Node& after, const std::string& path) {
  switch (before.type) {
    case repo::NodeType::file:
      return before.size == after.size && (before.content == after.content || same_file(before, after, path));
    case repo::NodeType::symlink:
      return before.link_target == after.link_target;
    case repo::NodeType::dev:
    case repo::NodeType::chardev:
      return before.device == after.device;
    default:
      return true;
  }
}

// Of the same size, in other blobs.
bool TreeDiff::same_file(const repo::Node& before, const repo::Node& after, const std::string& path) {
  if (before.content.size() == 1 && after.content.size() == 1) return false;
  try {
    const auto chunks_before = content_chunks(repository_, before), chunks_after = content_chunks(repository_, after);
    const auto result =
        ChunkComparison(repository_, progress_, stop_).compare_until_difference(chunks_before, chunks_after);
    if (result.problem) report_.problem(path, *result.problem);
    return result.changed.bytes == 0;
  } catch (const Error& error) {
    report_.problem(path, error);
    return false;
  }
}

void TreeDiff::entry(const repo::Node* before, const repo::Node* after, const std::string& path) {
  if (before == nullptr || after == nullptr)
    report_.difference({after == nullptr ? Change::removed : Change::added, path, before, after});
  else if (before->type != after->type)
    report_.difference({Change::type, path, before, after});
  else if (!same_content(*before, *after, path))
    report_.difference({Change::content, path, before, after});
  else if (!metadata_changes(*before, *after).empty())
    report_.difference({Change::metadata, path, before, after});
}

void TreeDiff::enter(std::vector<Level>& levels, const repo::Node* before, const repo::Node* after,
                     const std::string& path) {
  if (!is_folder(before) && !is_folder(after)) return;
  if (is_folder(before) && is_folder(after) && before->subtree == after->subtree) return;
  try {
    if (levels.size() >= kToLook.deepest || path.size() > kToLook.longest_path)
      throw Error(ErrorKind::corrupt, "lies too deep", "start farther down");
    Level level;
    level.before = nodes(before);
    level.after = nodes(after);
    level.path_length = path.size();
    levels.push_back(std::move(level));
  } catch (const Error& error) {
    report_.problem(path, error);
  }
}

void TreeDiff::walk(Level start, std::string path, const std::stop_token& stop) {
  start.path_length = path.size();
  std::vector<Level> levels;
  levels.push_back(std::move(start));
  while (!levels.empty()) {
    os::throw_if_stopped(stop);
    Level& level = levels.back();
    path.resize(level.path_length);
    const repo::Node* before = nullptr;
    const repo::Node* after = nullptr;
    if (level.next_before < level.before.size()) before = &level.before[level.next_before];
    if (level.next_after < level.after.size()) after = &level.after[level.next_after];
    if (before == nullptr && after == nullptr) {
      levels.pop_back();
      continue;
    }
    if (before != nullptr && after != nullptr && before->name != after->name)
      (before->name < after->name ? after : before) = nullptr;
    if (before != nullptr) ++level.next_before;
    if (after != nullptr) ++level.next_after;
    path += '/';
    path += (before != nullptr ? before : after)->name;
    if (std::ranges::binary_search(images_, path)) continue;
    entry(before, after, path);
    enter(levels, before, after, path);  // `level` and what it holds may move
  }
}

void TreeDiff::image(const StoredVolume* before, const StoredVolume* after) {
  ImageDifference difference;
  difference.volume = (before != nullptr ? before : after)->str();
  try {
    std::vector<ImageChunk> chunks_before, chunks_after;
    if (before != nullptr) difference.size_before = before->image_size;
    if (after != nullptr) difference.size_after = after->image_size;
    if (before != nullptr && after != nullptr && before->parts == after->parts &&
        before->image_size == after->image_size)
      return;
    if (before != nullptr) chunks_before = image_chunks(repository_, *before);
    if (after != nullptr) chunks_after = image_chunks(repository_, *after);
    const auto result = ChunkComparison(repository_, progress_, stop_).compare(chunks_before, chunks_after);
    difference.bytes_changed = result.changed.bytes;
    difference.ranges = result.changed.ranges;
    if (result.problem) report_.problem((before != nullptr ? before : after)->tree_path, *result.problem);
  } catch (const Error& error) {
    report_.problem((before != nullptr ? before : after)->tree_path, error);
    return;
  }
  if (difference.bytes_changed > 0 || difference.size_before != difference.size_after)
    report_.image(difference);
}

void TreeDiff::images(const std::vector<StoredVolume>& before, const std::vector<StoredVolume>& after,
                      const std::string& path) {
  std::map<std::string, std::pair<const StoredVolume*, const StoredVolume*>> pairs;
  for (const StoredVolume& volume : before)
    if (volume.has_image) pairs[volume.tree_path].first = &volume;
  for (const StoredVolume& volume : after)
    if (volume.has_image) pairs[volume.tree_path].second = &volume;
  const auto within = [&](const std::string& tree_path) {
    return lies_in(tree_path, path) || lies_in(path, tree_path + "/" + std::string(kImageName)) ||
           lies_in(path, tree_path + "/" + std::string(kImageFolder));
  };
  for (const auto& [tree_path, pair] : pairs)
    if (within(tree_path)) image(pair.first, pair.second);
}

bool TreeDiff::compare(const repo::Snapshot& before, const repo::Snapshot& after, const std::string& wanted,
                       const std::stop_token& stop) {
  const std::string path = clean(wanted);
  stop_ = stop;
  auto node_before = find_node(repository_, before, path);
  auto node_after = find_node(repository_, after, path);
  if (!node_before && !node_after) return false;
  if (node_before && node_after && before.tree == after.tree) return true;
  const auto volumes_before = volumes(before), volumes_after = volumes(after);
  images_.clear();
  for (const auto* volumes : {&volumes_before, &volumes_after}) {
    for (const StoredVolume& volume : *volumes) {
      if (!volume.has_image) continue;
      images_.push_back(volume.tree_path + "/" + std::string(kImageName));
      images_.push_back(volume.tree_path + "/" + std::string(kImageFolder));
    }
  }
  std::ranges::sort(images_);
  images_.erase(std::unique(images_.begin(), images_.end()), images_.end());
  if (path.empty()) {
    std::vector<Level> top;
    enter(top, &*node_before, &*node_after, path);
    if (!top.empty()) walk(std::move(top.front()), path, stop);
  } else if (!std::ranges::any_of(images_, [&](const std::string& image) { return lies_in(path, image); })) {
    // What has the path itself is the only entry of its level.
    Level top;
    if (node_before) top.before.push_back(std::move(*node_before));
    if (node_after) top.after.push_back(std::move(*node_after));
    walk(std::move(top), path.substr(0, path.rfind('/')), stop);
  }
  images(volumes_before, volumes_after, path);
  return true;
}

}  // namespace respaldo::view
