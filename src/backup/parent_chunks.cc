#include "backup/parent_chunks.h"

#include <fmt/format.h>

#include "backup/image_list.h"
#include "base/error.h"
#include "base/printable.h"

namespace respaldo::backup {

ParentChunks::ParentChunks(const repo::IndexedRepository& repository, const view::StoredVolume& volume)
    : repository_(repository), volume_(volume) {
  load();
}

void ParentChunks::next() {
  chunk_.offset += chunk_.length;
  if (chunk_.offset < blob_.offset + blob_.length) return;
  blob_.offset = chunk_.offset;
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
  if (id != blob_.id || blob_.length == 0) look_up(id);  // runs of zeros need it once
  chunk_ = chunk_of_pass(blob_, blob_.offset);
}

void ParentChunks::look_up(const repo::BlobId& id) {
  const auto location = repository_.index().find(repo::BlobType::data, id);
  if (!location || location->plain_length() == 0)
    throw Error(ErrorKind::corrupt, fmt::format("{}: the image's blob {} at byte {} is in no index",
                                                printable(volume_.str()), id.short_hex(), blob_.offset));
  blob_.id = id;
  blob_.length = location->plain_length();
}

}  // namespace respaldo::backup
