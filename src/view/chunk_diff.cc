#include "view/chunk_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "base/units.h"
#include "os/thread_group.h"
#include "view/zero_blob.h"

namespace respaldo::view {

namespace {

constexpr std::uint64_t kJobBytes = 16 * kMiB;   // compared by one thread in one go
constexpr std::uint64_t kToldBytes = 64 * kMiB;  // from here on there is a phase
constexpr unsigned kMostThreads = 8;             // each holds two blobs

enum class Verdict { same, differs, cut_otherwise };

ZeroBlobs zeros_of(std::span<const ImageChunk> before, std::span<const ImageChunk> after) {
  return ZeroBlobs{before.empty() ? 0 : before.back().length, after.empty() ? 0 : after.back().length};
}

std::uint64_t end_of(const ImageChunk& chunk) { return chunk.offset + chunk.length; }

// What lies between two borders, of whichever list; by number, past the last where a content has ended.
struct Piece {
  std::size_t before = 0, after = 0;
  std::uint64_t begin = 0, end = 0;
};

template <class Visit>
void for_each_piece(std::span<const ImageChunk> before, std::span<const ImageChunk> after,
                    const ZeroBlobs& zeros, const Visit& visit) {
  Piece piece;
  while (piece.before < before.size() || piece.after < after.size()) {
    const ImageChunk* b = piece.before < before.size() ? &before[piece.before] : nullptr;
    const ImageChunk* a = piece.after < after.size() ? &after[piece.after] : nullptr;
    piece.end = UINT64_MAX;
    if (b != nullptr) piece.end = std::min(piece.end, end_of(*b));
    if (a != nullptr) piece.end = std::min(piece.end, end_of(*a));
    Verdict verdict = Verdict::differs;
    if (b != nullptr && a != nullptr) {
      if ((b->offset == a->offset && b->id == a->id) || (zeros.contains(b->id) && zeros.contains(a->id)))
        verdict = Verdict::same;
      else if (b->offset != a->offset || b->length != a->length)
        verdict = Verdict::cut_otherwise;
    }
    visit(piece, verdict);
    piece.begin = piece.end;
    if (b != nullptr && end_of(*b) == piece.end) ++piece.before;
    if (a != nullptr && end_of(*a) == piece.end) ++piece.after;
  }
}

// `same`: for each piece that is cut otherwise, in order.
template <class Same>
ChangedBytes count(std::span<const ImageChunk> before, std::span<const ImageChunk> after,
                   const ZeroBlobs& zeros, Same same) {
  ChangedBytes changed;
  bool in_range = false;
  for_each_piece(before, after, zeros, [&](const Piece& piece, Verdict verdict) {
    const bool equal = verdict == Verdict::same || (verdict == Verdict::cut_otherwise && same());
    if (!equal) {
      changed.bytes += piece.end - piece.begin;
      if (!in_range) ++changed.ranges;
    }
    in_range = !equal;
  });
  return changed;
}

// One of the two contents, for one thread: the blob that was wanted last.
class Side {
 public:
  Side(const repo::IndexedRepository& repository, std::span<const ImageChunk> chunks, const ZeroBlobs& zeros)
      : repository_(repository), chunks_(chunks), zeros_(zeros) {}

  // Absent: zeros.
  std::optional<ByteView> bytes(std::size_t number, const Piece& piece) {
    const ImageChunk& chunk = chunks_[number];
    if (zeros_.contains(chunk.id)) return std::nullopt;
    if (loaded_ != number) {
      loaded_ = SIZE_MAX;
      plain_ = repository_.load_blob(repo::BlobType::data, chunk.id);
      if (plain_.size() != chunk.length)
        throw Error(ErrorKind::corrupt,
                    fmt::format("blob {} is {} bytes long, the index says {}", chunk.id.short_hex(),
                                plain_.size(), chunk.length),
                    "run: respaldo check --read-data");
      loaded_ = number;
    }
    return plain_.view(piece.begin - chunk.offset, piece.end - piece.begin);
  }

 private:
  const repo::IndexedRepository& repository_;
  const std::span<const ImageChunk> chunks_;
  const ZeroBlobs& zeros_;
  std::size_t loaded_ = SIZE_MAX;
  Bytes plain_;
};

bool equal(const std::optional<ByteView>& a, const std::optional<ByteView>& b) {
  if (!a) return is_zero(*b);  // two of zeros need no look
  return b ? std::ranges::equal(*a, *b) : is_zero(*a);
}

}  // namespace

ChangedBytes compare_chunks(std::span<const ImageChunk> before, std::span<const ImageChunk> after) {
  return count(before, after, zeros_of(before, after), [] { return false; });
}

ChunkComparison::Result ChunkComparison::compare(std::span<const ImageChunk> before,
                                                 std::span<const ImageChunk> after) {
  return compare(before, after, true);
}

ChunkComparison::Result ChunkComparison::compare_until_difference(std::span<const ImageChunk> before,
                                                                  std::span<const ImageChunk> after) {
  return compare(before, after, false);
}

ChunkComparison::Result ChunkComparison::compare(std::span<const ImageChunk> before,
                                                 std::span<const ImageChunk> after, bool whole) {
  const ZeroBlobs zeros = zeros_of(before, after);
  std::vector<Piece> pieces;
  std::uint64_t total = 0;
  bool differs = false;
  for_each_piece(before, after, zeros, [&](const Piece& piece, Verdict verdict) {
    differs |= verdict == Verdict::differs;
    if (verdict != Verdict::cut_otherwise) return;
    pieces.push_back(piece);
    total += piece.end - piece.begin;
  });
  std::vector<std::uint8_t> same(pieces.size(), 0);
  Result result;
  std::mutex mutex;
  std::size_t next = 0;
  std::atomic<bool> done = pieces.empty() || (differs && !whole);
  std::optional<ProgressPhase> phase;
  if (!done && total >= kToldBytes) phase.emplace(progress_, "compare", total);
  const auto work = [&](const std::stop_token& stop) {
    Side side_before(repository_, before, zeros), side_after(repository_, after, zeros);
    while (!done) {
      std::size_t at = 0, end = 0;
      {
        const std::lock_guard lock(mutex);
        at = end = next;
        while (end < pieces.size() && pieces[end].begin - pieces[at].begin < kJobBytes) ++end;
        next = end;
      }
      if (at == end) return;
      for (; at < end && !done; ++at) {
        os::throw_if_stopped(stop);
        const Piece& piece = pieces[at];
        try {
          same[at] =
              equal(side_before.bytes(piece.before, piece), side_after.bytes(piece.after, piece)) ? 1 : 0;
        } catch (const Error& error) {
          const std::lock_guard lock(mutex);
          if (!result.problem) result.problem = error;
        }
        if (same[at] == 0 && !whole) done = true;
        if (phase) progress_.advance(piece.end - piece.begin);
      }
    }
  };
  if (total <= kJobBytes) {
    work(stop_);
  } else {
    os::ThreadGroup workers(stop_);
    for (unsigned i = std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads); i > 0; --i)
      workers.spawn(work);
    workers.join();
  }
  result.changed =
      count(before, after, zeros, [&, at = std::size_t{0}]() mutable { return same[at++] != 0; });
  return result;
}

}  // namespace respaldo::view
