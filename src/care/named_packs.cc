#include "care/named_packs.h"

namespace respaldo::care {

parity::NamedPacks named_packs(repo::Repository& repository, const std::stop_token& stop) {
  SilentProgress silent;
  std::vector<std::string> damaged;
  const repo::Index index = repository.load_index(silent, &damaged, stop);
  return named_packs(repository, index, damaged.empty());
}

parity::NamedPacks named_packs(repo::Repository& repository, const repo::Index& index, bool whole) {
  parity::NamedPacks named;
  named.known = whole && (index.pack_count() > 0 || repository.backend().list(store::FileType::pack).empty());
  for (const repo::PackId& pack : index.packs()) named.packs.insert(pack.hex());
  return named;
}

}  // namespace respaldo::care
