// New blobs into a repository: deduplicated, compressed, sealed, verified, packed, indexed.
#pragma once

#include <cstdint>
#include <memory>

#include "repo/repository.h"

namespace respaldo::repo {

struct WriterOptions {
  int compression_level = 0;            // zstd level; 0: chosen by respaldo ("auto")
  std::uint64_t pack_size = 16U << 20;  // target bytes of a pack, 4 MiB .. 128 MiB
  std::uint32_t index_blobs = 50000;    // blobs after which an index file is written on the way
  // Of how many data blobs one is read back (opened, decompressed, compared) before its pack is stored; 1:
  // all. Trees are always read back.
  std::uint32_t verify_every = 8;
};

struct WriterTotals {
  std::uint64_t data_blobs = 0, tree_blobs = 0;    // new ones
  std::uint64_t new_bytes = 0, packed_bytes = 0;   // plain and stored size of new blobs
  std::uint64_t known_blobs = 0, known_bytes = 0;  // found in the repository or in this run
};

struct SaveResult {
  BlobId id;
  bool is_new = false;
};

// One for each backup. Lanes are used by one thread each: a lane owns its zstd and cipher contexts and its
// open packs, so that saving takes no lock but a short one on the set of ids. The set keeps two threads from
// storing one blob twice.
class BlobWriter {
 public:
  BlobWriter(const IndexedRepository& repository, const WriterOptions& options);
  ~BlobWriter();  // without finish(): packs already stored stay, unreferenced; prune removes them

  class Lane {
   public:
    ~Lane();
    // Hashes, looks up, stores when new. `plain` is not kept. Sizes: 1 byte up to 16 MiB (trees: 1 GiB).
    SaveResult save(BlobType type, ByteView plain);
    // The same when the id is known already (hashed elsewhere, in batches).
    SaveResult save(BlobType type, const BlobId& id, ByteView plain);
    // Stores what this lane still holds. Must be called before finish(), or the lane's last blobs are lost:
    // Error.
    void close();

   private:
    friend class BlobWriter;
    struct Impl;
    explicit Lane(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };
  std::unique_ptr<Lane> open_lane();

  // All packs durable, then all index files durable. Afterwards a snapshot may refer to every saved blob.
  void finish();
  WriterTotals totals() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Saves the snapshot object, durable: the commit point of a backup. REQUIRES writer.finish() before.
SnapshotId save_snapshot(Repository& repository, const Snapshot& snapshot);

}  // namespace respaldo::repo
