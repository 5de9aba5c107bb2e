// Folders of a backup as a filesystem shows them.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "repo/repository.h"

namespace respaldo::serve {

// What can be shown of a tree, by name; the numbers of its nodes are the same whenever it is loaded. A value.
struct StoredFolder {
  static constexpr std::uint32_t kJoined = UINT32_MAX;  // the number of `joined`

  std::vector<repo::Node> nodes;  // sorted by name, no name twice
  // "image.raw" in one piece, where the backup holds the image in parts. Empty when a part is missing.
  std::optional<repo::Node> joined;
  std::size_t hidden = 0;   // entries with names that no filesystem has, double names, unknown types
  std::size_t folders = 0;  // among nodes
  std::string problem;      // why there should be a joined image and is not

  const repo::Node& at(std::uint32_t number) const;  // Error(corrupt) when there is none
  std::optional<std::uint32_t> find(std::string_view name) const;
};

// `joins_image`: the folder may be that of a volume, whose parts of an image are joined.
StoredFolder load_folder(const repo::IndexedRepository& repository, const repo::BlobId& tree,
                         bool joins_image);

// Folders used lately. Thread-safe; threads that ask for one folder at one time share one load.
class FolderCache {
 public:
  using FolderPtr = std::shared_ptr<const StoredFolder>;
  using Repository = std::function<std::shared_ptr<const repo::IndexedRepository>()>;
  FolderCache(Repository repository, std::uint64_t capacity_bytes)
      : repository_(std::move(repository)), capacity_(capacity_bytes) {}

  FolderPtr get(const repo::BlobId& tree, bool joins_image);

 private:
  using Key = std::pair<repo::BlobId, bool>;
  struct Entry {
    std::shared_future<FolderPtr> folder;
    std::uint64_t weight = 0;  // 0 while it is being loaded
    std::list<Key>::iterator use;
  };

  const Repository repository_;
  const std::uint64_t capacity_;
  std::mutex mutex_;
  std::map<Key, Entry> entries_;
  std::list<Key> uses_;  // most recent first
  std::uint64_t weight_ = 0;
};

}  // namespace respaldo::serve
