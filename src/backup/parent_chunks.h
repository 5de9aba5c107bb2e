// The chunks of a stored image in disk order, one after the other, as the pass cut them (chunk_of_pass): no
// list of them is made.
#pragma once

#include <optional>

#include "repo/repository.h"
#include "view/volume_view.h"

namespace respaldo::backup {

// Goes forward only. Lengths come from the index. Both references must outlive it. Error(corrupt) when a blob
// is in no index: what lies behind it has no known place.
class ParentChunks {
 public:
  ParentChunks(const repo::IndexedRepository& repository, const view::StoredVolume& volume);

  // The chunk at hand; null at the end.
  const view::ImageChunk* current() const { return at_end_ ? nullptr : &chunk_; }
  void next();
  // To the first chunk that begins at or behind `offset`.
  void seek(std::uint64_t offset) {
    while (!at_end_ && chunk_.offset < offset) next();
  }

 private:
  void load();
  void look_up(const repo::BlobId& id);

  const repo::IndexedRepository& repository_;
  const view::StoredVolume& volume_;
  std::size_t part_ = 0, number_ = 0;
  view::ImageChunk blob_, chunk_;  // chunk_ lies in blob_
  bool at_end_ = false;
};

}  // namespace respaldo::backup
