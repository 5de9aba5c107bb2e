// A local copy of what is read again and again from a store far away: snapshots, indexes, and packs that hold
// only trees. In restic's layout (docs/remote.md section "cache"), below a folder of ours.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "store/backend.h"

namespace respaldo::store {

struct CacheOptions {
  std::string folder;                // of all repositories; made when missing
  std::uint64_t limit = 4ULL << 30;  // bytes in the folder; above it what was not used for longest goes
  std::function<void(std::string_view)> tell{};  // once, when the cache cannot be used
};

// Where caches lie: $RESPALDO_CACHE_DIR, else respaldo below $XDG_CACHE_HOME or ~/.cache; for root without a
// home /var/cache/respaldo. Empty when there is no such place.
std::string usual_cache_folder(const std::function<std::optional<std::string>(const char*)>& environment);

// Whatever is in the cache is believed only if its SHA-256 is its name, as it is for what the store gives;
// what is wrong is dropped and loaded anew. Trouble with the cache is never an error: it is told, and the
// store alone serves. Several processes may share the folder. Thread-safe.
class CachingBackend : public Backend {
 public:
  // Nothing is cached before the repository's id is known.
  virtual void use(const std::string& repository_id) = 0;
  // Which packs hold only trees: they are loaded whole at the first look. Others that are in the cache go.
  // REQUIRES that `holds_trees` is thread-safe.
  virtual void tree_packs(std::function<bool(const std::string& name)> holds_trees) = 0;
  // A pack that holds only trees and was just saved.
  virtual void keep_tree_pack(const std::string& name, ByteView pack) = 0;
};
std::unique_ptr<CachingBackend> with_cache(std::unique_ptr<Backend> below, const CacheOptions& options);

}  // namespace respaldo::store
