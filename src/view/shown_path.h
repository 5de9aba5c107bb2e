// Paths as users write them: as they are stored, or as they were shown.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "repo/repository.h"

namespace respaldo::view {

struct FoundPath {
  std::string path;  // as it is stored
  repo::Node node;
};

// What lies at `path`, as find_node() finds it. When there is no such thing, its names may be written as
// printable() shows them ("bad\xff"), a name of these very letters first. Absent when there is neither.
std::optional<FoundPath> find_shown(const repo::IndexedRepository& repository, const repo::Snapshot& snapshot,
                                    std::string_view path);
// The same below a folder.
std::optional<FoundPath> find_shown(const repo::IndexedRepository& repository, const repo::Node& folder,
                                    std::string_view path);

}  // namespace respaldo::view
