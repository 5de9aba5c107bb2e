// The folders of a backup: /VG/LV with its image, its files and its facts.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backup/chunk_savers.h"
#include "backup/tree_builder.h"
#include "backup/volume_job.h"
#include "repo/repository.h"

namespace respaldo::backup {

// References must outlive it.
class VolumeTrees {
 public:
  // `configs`: the groups' metadata as text. `parent_node`: what the parent backup has there, if anything.
  VolumeTrees(TreeBuilder& builder, ChunkSavers& savers, const repo::IndexedRepository& repository,
              const std::map<std::string, std::string>& configs,
              std::function<std::optional<repo::Node>(const std::string& path)> parent_node,
              std::vector<std::string>& warnings)
      : builder_(builder),
        savers_(savers),
        repository_(repository),
        configs_(configs),
        parent_node_(std::move(parent_node)),
        warnings_(warnings) {}

  // Takes their parts and file roots; gives the backup's root.
  repo::BlobId save(std::vector<Job>& jobs);

 private:
  void add_image(repo::Tree& tree, const std::string& path, std::vector<ImageList::Part> parts,
                 bool are_long);
  repo::Node part_in_folder(const std::string& folder, ImageList::Part part);
  void add_files(repo::Tree& tree, const std::string& path,
                 std::vector<std::pair<std::string, repo::Node>> roots);
  repo::Node group_config(const std::string& path, const std::string& text);
  repo::Node text_file(const std::string& path, std::string_view text);

  TreeBuilder& builder_;
  ChunkSavers& savers_;
  const repo::IndexedRepository& repository_;
  const std::map<std::string, std::string>& configs_;
  const std::function<std::optional<repo::Node>(const std::string& path)> parent_node_;
  std::vector<std::string>& warnings_;
};

}  // namespace respaldo::backup
