#include "view/volume_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

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

void require_part(bool there, const std::string& name) {
  if (!there)
    throw Error(ErrorKind::corrupt, fmt::format("the image's part {} is missing", name),
                "run: respaldo check");
}

// image.00000, image.00001, ...: by number, since image.100000 comes after image.99999.
std::vector<repo::Node> numbered_parts(repo::Tree&& folder) {
  std::ranges::sort(folder.nodes, [](const repo::Node& a, const repo::Node& b) {
    return std::pair(a.name.size(), std::string_view(a.name)) <
           std::pair(b.name.size(), std::string_view(b.name));
  });
  for (std::size_t number = 0; number < folder.nodes.size(); ++number) {
    const repo::Node& node = folder.nodes[number];
    require_part(node.type == repo::NodeType::file && node.name == part_name(number), part_name(number));
  }
  return std::move(folder.nodes);
}

std::vector<repo::Node> parts_in_folders(const repo::IndexedRepository& repository, repo::Tree&& folder) {
  std::ranges::sort(folder.nodes, {}, &repo::Node::name);
  std::vector<repo::Node> parts;
  std::uint64_t at = 0;
  for (const repo::Node& node : folder.nodes) {
    const std::string name = part_folder_name(at);
    require_part(is_folder(node) && node.name == name, name);
    repo::Tree tree = repository.load_tree(*node.subtree);
    require_part(tree.nodes.size() == 1 && tree.nodes[0].name == kImageName &&
                     tree.nodes[0].type == repo::NodeType::file && tree.nodes[0].size <= kLargestImage,
                 name);
    at += tree.nodes[0].size;
    require_part(at <= kLargestImage, part_folder_name(kLargestImage));
    parts.push_back(std::move(tree.nodes[0]));
  }
  return parts;
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

std::string part_folder_name(std::uint64_t first_byte) { return fmt::format("{:019}", first_byte); }

std::optional<std::uint64_t> parse_part_folder_name(std::string_view name) {
  std::uint64_t first_byte = 0;
  const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), first_byte);
  if (problem != std::errc() || name != part_folder_name(first_byte)) return std::nullopt;
  return first_byte;
}

std::vector<repo::Node> image_parts(const repo::IndexedRepository& repository, repo::Tree folder) {
  if (child(folder, part_name(0)) != nullptr) return numbered_parts(std::move(folder));
  if (child(folder, part_folder_name(0)) != nullptr) return parts_in_folders(repository, std::move(folder));
  return {};
}

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
          in_context([&] { return printable(volume.str()); },
                     [&] {
                       for (repo::Node& part : image_parts(repository, repository.load_tree(*node.subtree)))
                         add_part(volume, std::move(part));
                     });
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
