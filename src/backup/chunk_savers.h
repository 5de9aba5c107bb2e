// Where a pass puts its chunks: into the repository, or nowhere.
#pragma once

#include <memory>
#include <vector>

#include "backup/pipeline.h"
#include "repo/blob_writer.h"

namespace respaldo::backup {

// A set of savers, one for each worker, that count together.
class ChunkSavers {
 public:
  virtual ~ChunkSavers() = default;
  std::span<ChunkSaver* const> savers() const { return pointers_; }
  // Things that are no chunks of a volume. `worker`: below savers().size(), one thread at a time each. Not
  // while a pass runs.
  virtual repo::BlobId save(unsigned worker, repo::BlobType type, ByteView plain) = 0;
  repo::BlobId save(repo::BlobType type, ByteView plain) { return save(0, type, plain); }
  // Packs and index durable. Nothing can be saved afterwards.
  virtual void finish() = 0;
  virtual repo::WriterTotals totals() const = 0;

 protected:
  std::vector<ChunkSaver*> pointers_;
};

std::unique_ptr<ChunkSavers> make_repository_savers(const repo::IndexedRepository& repository,
                                                    const repo::WriterOptions& options, unsigned count);
// Counts what would be new; packed sizes are not known.
std::unique_ptr<ChunkSavers> make_dry_savers(const repo::IndexedRepository& repository, unsigned count);

}  // namespace respaldo::backup
