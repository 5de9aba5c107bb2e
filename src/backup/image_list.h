// The chunks of a volume put back into the content lists of its image's parts.
//
// A pass cuts zeros into zero chunks (kZeroChunk). In the lists, which would have two million of them for
// each TiB, a run of zero chunks becomes 1 to 16 of them, then zero blobs of 8 MiB: the same lists whatever
// has cut and reused the chunks. The short ones come first because restic's sparse restore looks for them.
//
// A part ends at each multiple of view::kImagePartSize. In a list that is too long for one tree it also ends
// where its IDs say so (TreeLimits): where a file comes or goes, the parts behind it are soon the same again.
#pragma once

#include <vector>

#include "backup/pipeline.h"

namespace respaldo::backup {

inline constexpr std::uint32_t kZerosInLong = view::kLongZeroBlobLength / kZeroChunk;

// The way back: of a blob in such a list, the chunk of the pass that lies at `offset`, within the blob.
view::ImageChunk chunk_of_pass(const view::ImageChunk& blob, std::uint64_t offset);

// Takes the chunks of a pass. Not thread-safe (a sink need not be).
class ImageList final : public ChunkSink {
 public:
  struct Part {
    std::uint64_t size = 0;
    std::vector<repo::BlobId> content;
  };
  explicit ImageList(const TreeLimits& limits = {}) : limits_(limits) {}
  // Error(internal) when the chunk does not follow the last one, or crosses the border of a part.
  void take(const StoredChunk& chunk) override;

  std::uint64_t size() const { return size_; }
  // Leaves the list empty. A volume of at most one part's size has one part, even if it is empty, unless it
  // is long.
  std::vector<Part> take_parts();
  // The parts that were taken name the zero blob of 8 MiB, which no pass has saved.
  bool has_long_zeros() const { return has_long_zeros_; }
  // They are too much for one tree: each shall have one of its own.
  bool is_long() const { return is_long_; }

 private:
  void end_zeros();
  bool is_full(const Part& part) const;
  void join_parts();

  const TreeLimits limits_;
  std::uint64_t size_ = 0;
  std::vector<Part> parts_{1};
  bool last_is_full_ = false;
  std::uint64_t zeros_ = 0;  // zero chunks at the end of the last part, not in its content yet
  bool has_long_zeros_ = false, is_long_ = false;
};

}  // namespace respaldo::backup
