#include "block/copy.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "os/thread_group.h"

namespace respaldo::block {

namespace {

constexpr std::uint64_t kPiece = 4 << 20;  // bytes that one thread reads at once
static_assert(kPiece % kCopyBlock == 0);

std::vector<Extent> pieces_of(const ExtentSet& ranges) {
  std::vector<Extent> pieces;
  for (const Extent& range : ranges.extents())
    for (std::uint64_t at = range.offset; at < range.end();) {
      const std::uint64_t end = std::min(range.end(), (at / kPiece + 1) * kPiece);
      pieces.push_back({at, end - at});
      at = end;
    }
  return pieces;
}

class Worker {
 public:
  Worker(const Device& from, WritableDevice& to, CopyMode mode)
      : from_(from), to_(to), mode_(mode), theirs_(kPiece), ours_(mode == CopyMode::all ? 0 : kPiece) {}

  void piece(Extent at) {
    const MutableBytes source = MutableBytes(theirs_).first(at.length);
    from_.read_at(at.offset, source);
    if (mode_ == CopyMode::all) {
      put(at.offset, source);
      totals_.changed += at.length;
      return;
    }
    const MutableBytes target = MutableBytes(ours_).first(at.length);
    to_.read_at(at.offset, target);
    // Neighbours that differ are written as one.
    std::uint64_t begin = 0, end = 0;
    const auto flush = [&] {
      if (end > begin && mode_ == CopyMode::differing)
        put(at.offset + begin, ByteView(source).subspan(begin, end - begin));
      totals_.changed += end - begin;
    };
    for (std::uint64_t block = 0; block < at.length; block += kCopyBlock) {
      const std::uint64_t length = std::min(kCopyBlock, at.length - block);
      if (std::ranges::equal(source.subspan(block, length), target.subspan(block, length))) {
        totals_.equal += length;
        continue;
      }
      if (end != block) {
        flush();
        begin = block;
      }
      end = block + length;
    }
    flush();
  }
  const CopyTotals& totals() const { return totals_; }

 private:
  void put(std::uint64_t offset, ByteView bytes) {
    if (is_zero(bytes))
      to_.zero({offset, bytes.size()});
    else
      to_.write_at(offset, bytes);
  }

  const Device& from_;
  WritableDevice& to_;
  const CopyMode mode_;
  Bytes theirs_, ours_;
  CopyTotals totals_;
};

}  // namespace

CopyTotals copy(const Device& from, WritableDevice& to, const ExtentSet& ranges, CopyMode mode,
                unsigned threads, Progress& progress, const std::stop_token& stop,
                const std::function<void()>& check) {
  const std::vector<Extent> pieces = pieces_of(ranges);
  if (!pieces.empty()) {
    require_within(from, 0, pieces.back().end());
    require_within(to, 0, pieces.back().end());
  }
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency());
  CopyTotals totals;
  std::mutex mutex;
  std::atomic<std::size_t> next = 0;
  os::ThreadGroup workers(stop);
  for (unsigned i = 0; i < threads; ++i)
    workers.spawn([&](const std::stop_token& token) {
      Worker worker(from, to, mode);
      for (std::size_t at = next++; at < pieces.size(); at = next++) {
        os::throw_if_stopped(token);
        if (check) check();
        worker.piece(pieces[at]);
        progress.advance(pieces[at].length);
      }
      const std::lock_guard lock(mutex);
      totals.changed += worker.totals().changed;
      totals.equal += worker.totals().equal;
    });
  workers.join();
  return totals;
}

}  // namespace respaldo::block
