#include "backup/volume_trees.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace respaldo::backup {

namespace {

std::string without_creation_time(std::string_view text) {
  constexpr std::string_view kField = "\ncreation_time = ";
  const std::size_t at = text.find(kField);
  if (at == text.npos) return std::string(text);
  const std::size_t end = std::min(text.find('\n', at + 1), text.size());
  return std::string(text.substr(0, at)).append(text.substr(end));
}

std::string facts_json(const Job& job) {
  const view::BaseRecord& record = job.record;
  std::string json = job.facts.to_json();
  return record.kept || record.used || !record.refused.empty() ? record.add_to(json) : json;
}

}  // namespace

repo::BlobId VolumeTrees::save(std::vector<Job>& jobs) {
  std::map<std::string, repo::Tree> groups;
  for (Job& job : jobs) {
    const std::string path = "/" + job.name.str();
    repo::Tree tree;
    add_image(tree, path, std::move(job.parts), job.parts_are_long);
    add_files(tree, path, std::move(job.file_roots));
    tree.nodes.push_back(text_file(path + "/" + std::string(view::kFactsName), facts_json(job)));
    if (job.token) tree.nodes.push_back(text_file(path + "/" + std::string(view::kCutsName), job.cuts));
    groups[job.name.vg].nodes.push_back(builder_.folder(path, std::move(tree)));
  }
  repo::Tree root;
  for (auto& [vg, tree] : groups) {
    const std::string path = "/" + vg;
    const auto same_name = [](const repo::Node& node) { return node.name == view::kGroupConfigName; };
    if (std::ranges::any_of(tree.nodes, same_name)) {
      warnings_.push_back(fmt::format("the metadata of {} is not saved: a volume has the name {}", vg,
                                      view::kGroupConfigName));
    } else {
      tree.nodes.push_back(group_config(path + "/" + std::string(view::kGroupConfigName), configs_.at(vg)));
    }
    root.nodes.push_back(builder_.folder(path, std::move(tree)));
  }
  return builder_.root(std::move(root));
}

void VolumeTrees::add_image(repo::Tree& tree, const std::string& path, std::vector<ImageList::Part> parts,
                            bool are_long) {
  if (parts.size() == 1 && !are_long) {
    tree.nodes.push_back(builder_.file(path + "/" + std::string(view::kImageName), parts.front().size,
                                       std::move(parts.front().content)));
    return;
  }
  const std::string folder = path + "/" + std::string(view::kImageFolder);
  repo::Tree inside;
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::uint64_t size = parts[i].size;
    inside.nodes.push_back(
        are_long ? part_in_folder(folder + "/" + view::part_folder_name(at), std::move(parts[i]))
                 : builder_.file(folder + "/" + view::part_name(i), size, std::move(parts[i].content)));
    at += size;
  }
  tree.nodes.push_back(builder_.folder(folder, std::move(inside)));
}

repo::Node VolumeTrees::part_in_folder(const std::string& folder, ImageList::Part part) {
  repo::Tree inside;
  inside.nodes.push_back(
      builder_.file(folder + "/" + std::string(view::kImageName), part.size, std::move(part.content)));
  return builder_.folder(folder, std::move(inside));
}

// "files", or "part1/files": the filesystem's root folder keeps its own metadata.
void VolumeTrees::add_files(repo::Tree& tree, const std::string& path,
                            std::vector<std::pair<std::string, repo::Node>> roots) {
  for (auto& [folder, root] : roots) {
    root.name = view::kFilesName;
    const std::size_t slash = folder.find('/');
    if (slash == folder.npos) {
      tree.nodes.push_back(std::move(root));
    } else {
      repo::Tree inside;
      inside.nodes.push_back(std::move(root));
      tree.nodes.push_back(builder_.folder(path + "/" + folder.substr(0, slash), std::move(inside)));
    }
  }
}

// Of a group that has not changed the parent's text is kept: only the time when it was written would
// differ.
repo::Node VolumeTrees::group_config(const std::string& path, const std::string& text) {
  constexpr std::uint64_t kMostCompared = 16U << 20;
  if (const auto old = parent_node_(path); old && old->size <= kMostCompared) {
    try {
      std::string before;
      for (const repo::BlobId& id : old->content)
        before += as_text(repository_.load_blob(repo::BlobType::data, id));
      if (without_creation_time(before) == without_creation_time(text)) return text_file(path, before);
    } catch (const Error&) {
      // A damaged parent is no reason to fail.
    }
  }
  return text_file(path, text);
}

repo::Node VolumeTrees::text_file(const std::string& path, std::string_view text) {
  std::vector<repo::BlobId> content;
  for (std::string_view rest = text; !rest.empty();
       rest.remove_prefix(std::min<std::size_t>(rest.size(), kImageChunk)))
    content.push_back(savers_.save(repo::BlobType::data, as_bytes(rest.substr(0, kImageChunk))));
  return builder_.file(path, text.size(), std::move(content));
}

}  // namespace respaldo::backup
