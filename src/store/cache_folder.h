// The files of a cache: put, got, evicted. Knows names and bytes, no store.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "os/file.h"
#include "store/backend.h"

namespace respaldo::store {

// With what is above it, where that is missing: for this user alone.
void make_folders(const os::Path& folder);

// One repository's part of the cache. Errors are those of os/file.h. Thread-safe.
class CacheFolder {
 public:
  CacheFolder(os::Path root, const std::string& repository_id, std::uint64_t limit);

  static bool caches(FileType type) {
    return type == FileType::snapshot || type == FileType::index || type == FileType::pack;
  }
  // The whole object, its hash checked; one that is wrong is dropped. Absent when it is not there.
  std::optional<Bytes> get(const Handle& handle);
  // A range of an object that was found right before (by this process); absent when it has gone, or ends
  // before.
  std::optional<Bytes> get_range(const Handle& handle, std::uint64_t offset, std::uint64_t length);
  // False when it is too large for this cache. REQUIRES that the bytes' hash is the name.
  bool put(const Handle& handle, ByteView bytes);
  void drop(const Handle& handle);
  // All of the type that `keep` does not want.
  void keep_only(FileType type, const std::function<bool(const std::string& name)>& keep);

 private:
  os::Path path_of(const Handle& handle) const;
  void used(const os::Path& path);
  void make_room(std::uint64_t bytes);

  const os::Path root_, folder_;
  const std::uint64_t limit_;
  std::mutex mutex_;
  std::unordered_set<std::string> proven_;  // packs whose hash was checked
  std::optional<std::uint64_t> total_;      // bytes below root_, as far as known
};

}  // namespace respaldo::store
