// Which packs the store has.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "repo/repository.h"

namespace respaldo::restore {

// As one listing tells. Thread-safe. The repository must outlive it.
class StoredPacks {
 public:
  explicit StoredPacks(const repo::IndexedRepository& repository);
  enum class State { whole, cut, missing };
  // Of the data blob's pack, that is as long as it must be for this blob. Of several the best: any will do.
  State state(const repo::BlobId& id, const repo::BlobLocation& location) const;

 private:
  State state(const repo::BlobLocation& location) const;

  const repo::IndexedRepository& repository_;
  std::unordered_map<repo::PackId, std::uint64_t> sizes_;
};

}  // namespace respaldo::restore
