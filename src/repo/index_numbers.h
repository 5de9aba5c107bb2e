// Blobs by number: for work that keeps a bit or two for each blob of an index.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "repo/index.h"

namespace respaldo::repo {

struct BlobNumber {
  std::uint64_t number = 0;  // below index.blob_count(); the same for all copies of a blob
  std::uint32_t copies = 0;
};
// Absent when the index does not tell the blob. Thread-safe once the index is frozen.
std::optional<BlobNumber> blob_number(const Index& index, BlobType type, const BlobId& id);

// Packs that were added more than once: several index files tell of them.
std::vector<PackId> repeated_packs(const Index& index);

}  // namespace respaldo::repo
