// Which chunks of an earlier backup the new one can take over without reading the volume.
#pragma once

#include <unordered_map>
#include <vector>

#include "backup/cut_plan.h"
#include "backup/parent_chunks.h"
#include "backup/pipeline.h"
#include "view/cut_record.h"

namespace respaldo::backup {

// An earlier backup of the volume, and what may differ between the bytes that it saw and those of now.
struct ParentImage {
  view::StoredVolume volume;
  view::CutRecord cuts;
  ExtentSet changed;  // ranges that the backup had lost belong to it
};

// Zero blobs of lengths that free space is stored in. A value, not thread-safe.
class ZeroChunkIds {
 public:
  // Could the chunk be free space that was never read? False for lengths that free space never has.
  bool is_zero(std::uint32_t length, const repo::BlobId& id);

 private:
  std::unordered_map<std::uint32_t, repo::BlobId> ids_;
};

// Part of a plan, divided.
struct ReusedSpans {
  std::vector<Span> spans;         // kinds read and reuse
  std::vector<StoredChunk> known;  // of reuse spans all chunks; of read ones cut by content those that fit
  std::uint64_t to_read = 0;       // bytes, about
};

// Goes through a plan in disk order, beside the parent's chunks. A chunk is reused when none of its bytes may
// have changed AND the cutter would cut the same chunk there again: so what comes out is, blob for blob, what
// a full backup would store (docs/decisions/0030-bases.md). Not thread-safe; `parent` must outlive it.
class Reuse {
 public:
  Reuse(const repo::IndexedRepository& repository, const ParentImage& parent);

  // `part`: a span of kind read, or for fixed cuts a piece of one between multiples of kImageChunk. Appends.
  // REQUIRES parts in disk order. Error(corrupt) as ParentChunks.
  void divide(const Span& part, ReusedSpans& out);

 private:
  void divide_fixed(const Span& part, ReusedSpans& out);
  void divide_whole(const Span& part, ReusedSpans& out);
  void divide_content(const Span& part, ReusedSpans& out);
  bool take_fixed(Extent piece, std::vector<StoredChunk>& known);
  bool may_be_reused(const view::ImageChunk& chunk);
  const Extent* content_span_at(std::uint64_t offset) const;

  const ParentImage& parent_;
  ParentChunks chunks_;
  ZeroChunkIds zeros_;
};

}  // namespace respaldo::backup
