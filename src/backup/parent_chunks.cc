#include "backup/parent_chunks.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/printable.h"

namespace respaldo::backup {

ParentChunks::ParentChunks(const repo::IndexedRepository& repository, const view::StoredVolume& volume)
    : repository_(repository), volume_(volume) {
  load();
}

void ParentChunks::next() {
  chunk_.offset += chunk_.length;
  ++number_;
  load();
}

void ParentChunks::load() {
  while (part_ < volume_.parts.size() && number_ == volume_.parts[part_].size()) {
    ++part_;
    number_ = 0;
  }
  at_end_ = part_ == volume_.parts.size();
  if (at_end_) return;
  const repo::BlobId& id = volume_.parts[part_][number_];
  if (id == chunk_.id && chunk_.length > 0) return;  // runs of zeros
  const auto location = repository_.index().find(repo::BlobType::data, id);
  if (!location || location->plain_length() == 0)
    throw Error(ErrorKind::corrupt, fmt::format("{}: the image's blob {} at byte {} is in no index",
                                                printable(volume_.str()), id.short_hex(), chunk_.offset));
  chunk_.id = id;
  chunk_.length = location->plain_length();
}

}  // namespace respaldo::backup
