#include "restore/stored_packs.h"

#include <algorithm>

namespace respaldo::restore {

StoredPacks::StoredPacks(const repo::IndexedRepository& repository) : repository_(repository) {
  for (const store::FileInfo& pack : repository.repository().backend().list(store::FileType::pack))
    if (const auto id = repo::PackId::parse(pack.name)) sizes_[*id] = pack.size;
}

StoredPacks::State StoredPacks::state(const repo::BlobLocation& location) const {
  const auto pack = sizes_.find(location.pack);
  if (pack == sizes_.end()) return State::missing;
  return std::uint64_t{location.offset} + location.length <= pack->second ? State::whole : State::cut;
}

StoredPacks::State StoredPacks::state(const repo::BlobId& id, const repo::BlobLocation& location) const {
  const State first = state(location);
  if (first == State::whole) return first;
  const auto others = repository_.index().find_all(repo::BlobType::data, id);
  const bool elsewhere =
      std::ranges::any_of(others, [&](const repo::BlobLocation& at) { return state(at) == State::whole; });
  return elsewhere ? State::whole : first;
}

}  // namespace respaldo::restore
