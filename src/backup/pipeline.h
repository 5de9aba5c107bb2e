// The pass over one volume: read, cut, hash, save; results in disk order.
//
// Each worker runs a range to completion: it reads about 16 MiB into its own buffer, cuts, hashes in batches
// and saves through its own lane. Workers share only the list of work, the set of known ids and the order of
// results; which worker does what never shows in what is stored.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "backup/backup.h"
#include "backup/cut_plan.h"
#include "base/progress.h"
#include "chunk/content_cutter.h"
#include "repo/id.h"
#include "view/volume_view.h"

namespace respaldo::backup {

// A chunk of the volume, or `repeat` equal ones in a row (runs of zeros).
struct StoredChunk {
  std::uint64_t offset = 0;
  std::uint32_t length = 0, repeat = 1;
  repo::BlobId id;
};

// Where new chunks go. One for each worker; used by one thread at a time.
class ChunkSaver {
 public:
  virtual ~ChunkSaver() = default;
  virtual void save(const repo::BlobId& id, ByteView plain) = 0;
};

// Who wants to know. Called in disk order, by one thread at a time; the chunks tile the volume.
class ChunkSink {
 public:
  virtual ~ChunkSink() = default;
  virtual void take(const StoredChunk& chunk) = 0;
};

struct ParentImage;

struct PassSource {
  const block::Device& device;
  const CutPlan& plan;
  std::string volume;  // "vg0/root", for messages
  const chunk::ContentCutter& content_cutter;
  OnReadError on_read_error = OnReadError::fail;
  // Throws when the snapshot below has died. Called from all workers, one at a time: now and then, before a
  // read error is believed, and after the last byte.
  std::function<void()> require_valid;
  // The file that has the byte at this offset, for messages; empty when there is none.
  std::function<std::string(std::uint64_t offset)> file_at{};
  // An earlier backup whose chunks are taken over where nothing changed, and the repository that holds it.
  const repo::IndexedRepository* repository = nullptr;
  const ParentImage* parent = nullptr;
};

struct PassResult {
  std::uint64_t bytes_read = 0, bytes_zero = 0;
  std::uint64_t bytes_reused = 0;     // of the parent's chunks that were taken over
  std::vector<view::LostRange> lost;  // in disk order
};

// One worker for each saver. Advances `progress` by what is read. Throws Cancelled on stop.
PassResult run_pass(const PassSource& source, std::span<ChunkSaver* const> savers, ChunkSink& sink,
                    Progress& progress, std::stop_token stop);

}  // namespace respaldo::backup
