#include "view/volume_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::view {

namespace {

constexpr std::uint64_t kFactsLimit = 64U << 20;  // a volume.json longer than this is not read
constexpr std::uint64_t kLargestImage = std::uint64_t{1} << 62;

const repo::Node* child(const repo::Tree& tree, std::string_view name) {
  // Foreign trees may be out of order: no binary search.
  const auto found = std::ranges::find(tree.nodes, name, &repo::Node::name);
  return found == tree.nodes.end() ? nullptr : &*found;
}

bool is_folder(const repo::Node& node) {
  return node.type == repo::NodeType::dir && node.subtree.has_value();
}

void add_part(StoredVolume& volume, repo::Node&& node) {
  if (node.size > kLargestImage || volume.image_size > kLargestImage - node.size)
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: the image claims to be absurdly large", printable(volume.str())),
                "run: respaldo check");
  volume.image_size += node.size;
  volume.parts.push_back(std::move(node.content));
}

// image/image.00000, image.00001, ...: all of them, in order, none missing between.
void add_parts(StoredVolume& volume, repo::Tree&& folder) {
  std::ranges::sort(folder.nodes, [](const repo::Node& a, const repo::Node& b) {
    return std::pair(a.name.size(), std::string_view(a.name)) <
           std::pair(b.name.size(), std::string_view(b.name));
  });
  for (repo::Node& node : folder.nodes) {
    const std::string expected = part_name(volume.parts.size());
    if (node.type != repo::NodeType::file || node.name != expected)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: the image's parts should go on with {}, but there is {}",
                              printable(volume.str()), expected, printable(node.name)),
                  "run: respaldo check");
    add_part(volume, std::move(node));
  }
}

// Facts are welcome, not necessary: an image whose volume.json is damaged can still be restored.
std::optional<VolumeFacts> load_facts(const repo::IndexedRepository& repository, const repo::Node& node) {
  if (node.size > kFactsLimit) return std::nullopt;
  try {
    std::string text;
    for (const repo::BlobId& id : node.content) {
      text += as_text(repository.load_blob(repo::BlobType::data, id));
      if (text.size() > kFactsLimit) return std::nullopt;
    }
    return VolumeFacts::parse(text);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string mapper_name(const StoredVolume& volume) {
  std::string name;
  for (const char c : volume.vg) name.append(c == '-' ? 2 : 1, c);
  name += '-';
  for (const char c : volume.lv) name.append(c == '-' ? 2 : 1, c);
  return name;
}

bool is_named(const StoredVolume& volume, std::string_view name) {
  constexpr std::string_view kMapper = "/dev/mapper/", kDev = "/dev/";
  if (name.starts_with(kMapper)) return mapper_name(volume) == name.substr(kMapper.size());
  if (name.starts_with(kDev)) name.remove_prefix(kDev.size());
  return volume.str() == name;
}

}  // namespace

std::string part_name(std::size_t number) { return fmt::format("image.{:05}", number); }

std::vector<StoredVolume> stored_volumes(const repo::IndexedRepository& repository,
                                         const repo::Snapshot& snapshot) {
  std::vector<StoredVolume> volumes;
  for (const repo::Node& vg : repository.load_tree(snapshot.tree).nodes) {
    if (!is_folder(vg)) continue;
    for (const repo::Node& lv : repository.load_tree(*vg.subtree).nodes) {
      if (!is_folder(lv)) continue;
      repo::Tree tree = repository.load_tree(*lv.subtree);
      StoredVolume volume;
      volume.vg = vg.name;
      volume.lv = lv.name;
      volume.tree_path = "/" + vg.name + "/" + lv.name;
      const repo::Node* files = child(tree, kFilesName);
      volume.has_files = files != nullptr && is_folder(*files);
      const repo::Node* facts = child(tree, kFactsName);
      if (facts != nullptr && facts->type == repo::NodeType::file)
        volume.facts = load_facts(repository, *facts);
      for (repo::Node& node : tree.nodes) {
        if (node.name == kImageName && node.type == repo::NodeType::file) {
          add_part(volume, std::move(node));
        } else if (node.name == kImageFolder && is_folder(node) && child(tree, kImageName) == nullptr) {
          repo::Tree folder = repository.load_tree(*node.subtree);
          if (child(folder, part_name(0)) != nullptr) add_parts(volume, std::move(folder));
        }
      }
      volume.has_image = !volume.parts.empty();
      // Any folder of a foreign backup may hold "files"; only ours hold facts beside it.
      if (volume.has_image || (volume.has_files && volume.facts)) volumes.push_back(std::move(volume));
    }
  }
  return volumes;
}

StoredVolume select_volume(std::vector<StoredVolume> volumes, std::optional<std::string_view> name) {
  if (volumes.empty())
    throw Error(ErrorKind::not_found, "this backup holds no volume",
                "files of restic's backups can be restored: respaldo restore --files");
  const auto listed = [&] {
    std::vector<std::string> names;
    for (const StoredVolume& volume : volumes) names.push_back(printable(volume.str()));
    return fmt::format("it holds {}", fmt::join(names, ", "));
  };
  if (!name) {
    if (volumes.size() == 1) return std::move(volumes.front());
    throw Error(ErrorKind::usage, "this backup holds several volumes: say which one", listed());
  }
  const auto found = std::ranges::find_if(volumes, [&](const StoredVolume& v) { return is_named(v, *name); });
  if (found == volumes.end())
    throw Error(ErrorKind::usage, fmt::format("this backup does not hold {}", printable(*name)), listed());
  return std::move(*found);
}

std::vector<ImageChunk> image_chunks(const repo::IndexedRepository& repository, const StoredVolume& volume) {
  std::size_t count = 0;
  for (const auto& part : volume.parts) count += part.size();
  std::vector<ImageChunk> chunks;
  chunks.reserve(count);
  std::uint64_t offset = 0;
  for (const auto& part : volume.parts) {
    for (const repo::BlobId& id : part) {
      const auto location = repository.index().find(repo::BlobType::data, id);
      if (!location)
        throw Error(ErrorKind::corrupt,
                    fmt::format("{}: the image's blob {} at byte {} is in no index", printable(volume.str()),
                                id.short_hex(), offset),
                    "run: respaldo check (or try an older backup)");
      const std::uint32_t length = location->plain_length();
      if (length > 0) chunks.push_back({offset, length, id});
      offset += length;
    }
  }
  if (offset != volume.image_size)
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: the image's blobs add up to {} bytes, but its size is {}",
                            printable(volume.str()), offset, volume.image_size),
                "run: respaldo check (or try an older backup)");
  return chunks;
}

std::optional<repo::Node> find_node(const repo::IndexedRepository& repository, const repo::Snapshot& snapshot,
                                    std::string_view path) {
  repo::Node node;
  node.type = repo::NodeType::dir;
  node.subtree = snapshot.tree;
  while (true) {
    while (path.starts_with('/')) path.remove_prefix(1);
    if (path.empty()) return node;
    if (!is_folder(node)) return std::nullopt;
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(name.size());
    repo::Tree tree = repository.load_tree(*node.subtree);
    const auto found = std::ranges::find(tree.nodes, name, &repo::Node::name);
    if (found == tree.nodes.end()) return std::nullopt;
    node = std::move(*found);
  }
}

}  // namespace respaldo::view
