// Files read out of a restored image, against the hashes of the backup's file view.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "fs/ext/ext_reader.h"
#include "repo/repository.h"

namespace respaldo::drill {

struct Sample {
  unsigned percent = 10;
  std::uint64_t seed = 0;
  bool takes(std::string_view path) const;  // the same for the same path and seed
};

struct CompareResult {
  std::uint64_t files = 0, compared = 0, compared_bytes = 0, different = 0;
  std::vector<std::string> differences;  // "PATH: why"; the first ones
};

// Every folder, link and file below `root` (the node of a file view) must be in the filesystem, with its
// size, mode and owner; of the sampled files every stored blob must have its hash. No blob is loaded: what is
// hashed is what was restored. The first hundred files are always in the sample. Trees that cannot be read
// are differences.
CompareResult compare_with_image(const repo::IndexedRepository& repository, const repo::Node& root,
                                 const fs::ExtReader& reader, const Sample& sample, Progress& progress,
                                 const std::stop_token& stop);
// For filesystems that respaldo does not read itself: the blobs of the sampled files are loaded and verified.
CompareResult verify_content(const repo::IndexedRepository& repository, const repo::Node& root,
                             const Sample& sample, Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::drill
