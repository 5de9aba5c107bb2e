// Which chunks hold the files' data.
#pragma once

#include <span>
#include <vector>

#include "backup/cut_plan.h"
#include "backup/pipeline.h"

namespace respaldo::backup {

// Keeps the chunks of a pass that lie in file runs: 48 bytes each.
class ChunkMap final : public ChunkSink {
 public:
  // `runs` as in VolumeMap; must outlive this.
  explicit ChunkMap(std::span<const FileRun> runs) : runs_(runs) {}
  void take(const StoredChunk& chunk) override;

  // Appends the ids of the chunks that make up exactly these bytes of the volume. False, and nothing
  // appended, when no chunks do.
  bool append(Extent extent, std::vector<repo::BlobId>& content) const;

 private:
  std::span<const FileRun> runs_;
  std::size_t next_run_ = 0;
  std::vector<StoredChunk> chunks_;  // ascending
};

}  // namespace respaldo::backup
