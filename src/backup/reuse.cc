#include "backup/reuse.h"

#include <algorithm>

#include "chunk/content_cutter.h"

namespace respaldo::backup {

namespace {

constexpr std::uint32_t kSector = 512;

std::uint64_t end_of(const view::ImageChunk& chunk) { return chunk.offset + chunk.length; }
StoredChunk stored(const view::ImageChunk& chunk) { return {chunk.offset, chunk.length, 1, chunk.id}; }

// Joins what the cutter cuts alike either way: pieces of fixed spans meet at multiples of kImageChunk.
void append(ReusedSpans& out, const Span& span) {
  if (span.kind == SpanKind::read) out.to_read += span.extent.length;
  if (!out.spans.empty()) {
    Span& last = out.spans.back();
    if (last.kind == span.kind && last.cut == span.cut && span.cut == CutKind::fixed &&
        last.extent.end() == span.extent.offset && span.extent.offset % kImageChunk == 0) {
      last.extent.length += span.extent.length;
      return;
    }
  }
  out.spans.push_back(span);
}

bool is_zero_half(const StoredChunk& chunk) {
  return chunk.length == kZeroChunk && chunk.id == view::zero_blob_id();
}

}  // namespace

bool ZeroChunkIds::is_zero(std::uint32_t length, const repo::BlobId& id) {
  if (length > kZeroChunk || length % kSector != 0) return false;
  const auto [at, is_new] = ids_.try_emplace(length);
  if (is_new) at->second = length == kZeroChunk ? view::zero_blob_id() : view::zero_blob_id(length);
  return at->second == id;
}

Reuse::Reuse(const repo::IndexedRepository& repository, const ParentImage& parent)
    : parent_(parent), chunks_(repository, parent.volume) {}

void Reuse::divide(const Span& part, ReusedSpans& out) {
  switch (part.cut) {
    case CutKind::fixed:
      return divide_fixed(part, out);
    case CutKind::whole:
      return divide_whole(part, out);
    case CutKind::content:
      return divide_content(part, out);
  }
}

// The bytes are the parent's, and what the parent stored is what was on the disk.
bool Reuse::may_be_reused(const view::ImageChunk& chunk) {
  const Extent extent{chunk.offset, chunk.length};
  if (extent.end() > parent_.cuts.complete_to || parent_.changed.intersects(extent)) return false;
  return !parent_.cuts.free_dropped || !zeros_.is_zero(chunk.length, chunk.id) ||
         parent_.cuts.zeros.contains(extent);
}

// The parent's content-cut span that holds the byte.
const Extent* Reuse::content_span_at(std::uint64_t offset) const {
  const auto& spans = parent_.cuts.content;
  const auto after = std::ranges::upper_bound(spans, offset, {}, &Extent::offset);
  if (after == spans.begin() || !(after - 1)->contains(offset)) return nullptr;
  return &*(after - 1);
}

void Reuse::divide_fixed(const Span& part, ReusedSpans& out) {
  for (std::uint64_t at = part.extent.offset; at < part.extent.end();) {
    const std::uint64_t stop = std::min(part.extent.end(), (at / kImageChunk + 1) * kImageChunk);
    Span piece{{at, stop - at}, SpanKind::read, CutKind::fixed};
    if (!parent_.changed.intersects(piece.extent) && take_fixed(piece.extent, out.known))
      piece.kind = SpanKind::reuse;
    append(out, piece);
    at = stop;
  }
}

// Appends the chunks of a piece within one multiple of kImageChunk, when they are what FixedCutter would cut.
bool Reuse::take_fixed(Extent piece, std::vector<StoredChunk>& known) {
  const std::size_t before = known.size();
  chunks_.seek(piece.offset);
  std::uint64_t done = piece.offset;
  for (const view::ImageChunk* chunk = chunks_.current();
       chunk != nullptr && chunk->offset == done && done < piece.end() && end_of(*chunk) <= piece.end() &&
       known.size() - before < 2 && may_be_reused(*chunk);
       chunk = chunks_.current()) {
    known.push_back(stored(*chunk));
    done = end_of(*chunk);
    chunks_.next();
  }
  const std::size_t count = known.size() - before;
  bool as_cut = done == piece.end() && count > 0;
  if (as_cut && count == 1) {
    // Longer than a half: only if the parent was cut here by places, too, a half of zeros would have shown.
    as_cut = piece.length <= kZeroChunk || content_span_at(piece.offset) == nullptr;
  } else if (as_cut) {
    const StoredChunk &first = known[before], &second = known[before + 1];
    as_cut = second.offset % kZeroChunk == 0 &&
             ((first.offset % kZeroChunk == 0 && is_zero_half(first)) || is_zero_half(second));
  }
  if (!as_cut) known.resize(before);
  return as_cut;
}

void Reuse::divide_whole(const Span& part, ReusedSpans& out) {
  Span span = part;
  chunks_.seek(part.extent.offset);
  const view::ImageChunk* chunk = chunks_.current();
  if (chunk != nullptr && Extent{chunk->offset, chunk->length} == part.extent && may_be_reused(*chunk)) {
    out.known.push_back(stored(*chunk));
    span.kind = SpanKind::reuse;
    chunks_.next();
  }
  append(out, span);
}

// Each cut follows from the bytes since the last one; the test for a zero chunk looks no further than the
// shortest chunk. So wherever a new chunk begins at the beginning of an old one whose bytes are the same, the
// new one ends where the old one did: unless the old one ended because its span did, and the new span goes on.
void Reuse::divide_content(const Span& part, ReusedSpans& out) {
  static_assert(chunk::ContentCutter::kShortest >= kZeroChunk);
  const std::size_t before = out.known.size();
  std::uint64_t known_bytes = 0, done = part.extent.offset;
  bool complete = true;
  chunks_.seek(part.extent.offset);
  for (const view::ImageChunk* chunk = chunks_.current();
       chunk != nullptr && end_of(*chunk) <= part.extent.end(); chunk = chunks_.current()) {
    const std::uint64_t end = end_of(*chunk);
    const Extent* span = content_span_at(chunk->offset);
    const bool fits = span != nullptr && end <= span->end() && may_be_reused(*chunk) &&
                      (end < span->end() || end == part.extent.end());
    if (fits) {
      complete &= chunk->offset == done;
      done = end;
      known_bytes += chunk->length;
      out.known.push_back(stored(*chunk));
    }
    chunks_.next();
  }
  Span span = part;
  if (complete && done == part.extent.end() && out.known.size() > before) span.kind = SpanKind::reuse;
  append(out, span);
  if (span.kind == SpanKind::read) out.to_read -= known_bytes;
}

}  // namespace respaldo::backup
