// The chunks of a volume put back into the content lists of its image's parts.
#pragma once

#include <vector>

#include "backup/pipeline.h"

namespace respaldo::backup {

// Takes the chunks of a pass. Not thread-safe (a sink need not be).
class ImageList final : public ChunkSink {
 public:
  struct Part {
    std::uint64_t size = 0;
    std::vector<repo::BlobId> content;
  };
  // Error(internal) when the chunk does not follow the last one, or crosses the border of a part.
  void take(const StoredChunk& chunk) override;

  std::uint64_t size() const { return size_; }
  // Leaves the list empty. A volume of at most one part's size has one part, even if it is empty.
  std::vector<Part> take_parts();

 private:
  std::uint64_t size_ = 0;
  std::vector<Part> parts_{1};
};

}  // namespace respaldo::backup
