#include "backup/pipeline.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>

#include "backup/cutter.h"
#include "backup/source_reader.h"
#include "backup/work_list.h"
#include "base/error.h"
#include "crypto/crypto.h"
#include "os/thread_group.h"

namespace respaldo::backup {

namespace {

// Chunks are hashed side by side, so many of them, or what so many bytes of the buffer hold:
// enough for the processor's lanes, and few enough to be in a cache still when they are compressed.
constexpr std::size_t kHashBatch = 64;
constexpr std::uint64_t kBatchBytes = 16 * kImageChunk;
constexpr std::uint64_t kReadStep =
    kImageChunk;  // read in one go: small enough to stay in the cache until stored
constexpr std::chrono::milliseconds kValidityInterval{500};

struct RangeResult {
  std::uint64_t sequence = 0;
  std::vector<StoredChunk> chunks;
  std::vector<view::LostRange> lost;
  std::uint64_t bytes_read = 0, bytes_zero = 0, bytes_reused = 0;
};

// Puts results back into the order of their sequence numbers.
class InOrder {
 public:
  explicit InOrder(ChunkSink& sink) : sink_(sink) {}

  void add(RangeResult result) {
    std::lock_guard lock(mutex_);
    total_.bytes_read += result.bytes_read;
    total_.bytes_zero += result.bytes_zero;
    total_.bytes_reused += result.bytes_reused;
    waiting_.emplace(result.sequence, std::move(result));
    for (auto at = waiting_.begin(); at != waiting_.end() && at->first == next_;
         at = waiting_.erase(at), ++next_) {
      for (const StoredChunk& chunk : at->second.chunks) sink_.take(chunk);
      for (view::LostRange& range : at->second.lost) append_lost(total_.lost, std::move(range));
    }
  }
  PassResult take() {
    if (!waiting_.empty()) throw Error(ErrorKind::internal, "a range of the pass is missing");
    return std::move(total_);
  }

 private:
  ChunkSink& sink_;
  std::mutex mutex_;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, RangeResult> waiting_;
  PassResult total_;
};

// The zero blobs of a pass, up to kZeroChunk long. Each is hashed and saved once. Thread-safe.
class ZeroChunks {
 public:
  const repo::BlobId& get(std::uint32_t length, ChunkSaver& saver) {
    std::lock_guard lock(mutex_);
    const auto [at, is_new] = ids_.try_emplace(length);
    if (is_new) {
      at->second = length == kZeroChunk ? view::zero_blob_id() : view::zero_blob_id(length);
      saver.save(at->second, view::zero_blob().first(length));
    }
    return at->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::uint32_t, repo::BlobId> ids_;
};

// What all workers of a pass share.
struct Shared {
  Shared(const PassSource& source, ChunkSink& sink, Progress& meter)
      : work(make_work(source)),
        asked(source.require_valid),
        content_cutter(source.content_cutter),
        require_valid([this] {
          std::lock_guard lock(validity_mutex);
          look();
        }),
        reader(source.device, source.volume, source.on_read_error, require_valid, source.file_at),
        results(sink),
        progress(meter) {}

  static WorkList make_work(const PassSource& source) {
    if (source.parent == nullptr) return WorkList(source.plan);
    return WorkList(source.plan, *source.repository, source.parent);
  }

  using Clock = std::chrono::steady_clock;
  WorkList work;
  const std::function<void()>& asked;
  const chunk::ContentCutter& content_cutter;
  std::mutex validity_mutex;
  std::atomic<Clock::time_point> next_check{Clock::now()};
  const std::function<void()> require_valid;
  // One of the workers looks; the others go on meanwhile.
  void require_valid_at_times() {
    if (Clock::now() < next_check.load(std::memory_order_relaxed)) return;
    if (const std::unique_lock lock(validity_mutex, std::try_to_lock); lock) look();
  }
  // With the mutex.
  void look() {
    asked();
    next_check = Clock::now() + kValidityInterval;
  }
  const SourceReader reader;
  InOrder results;
  ZeroChunks zeros;
  Progress& progress;
};

class Worker {
 public:
  Worker(Shared& shared, ChunkSaver& saver, std::stop_token stop)
      : shared_(shared),
        saver_(saver),
        stop_(std::move(stop)),
        buffer_(kLongestChunk + kReadStep + kBatchBytes) {
    batch_.reserve(kHashBatch);
  }

  void run() {
    while (auto range = shared_.work.next()) {
      os::throw_if_stopped(stop_);
      shared_.results.add(treat(*range));
      shared_.require_valid_at_times();
    }
  }

 private:
  RangeResult treat(const WorkRange& range) {
    RangeResult result;
    result.sequence = range.sequence;
    result_ = &result;
    known_ = range.known;
    for (std::size_t i = 0; i < range.spans.size();) {
      const Span& span = range.spans[i];
      if (span.kind == SpanKind::zero) {
        add_zeros(span.extent);
        ++i;
      } else if (span.kind == SpanKind::reuse) {
        reuse(span.extent);
        ++i;
      } else if (knows_chunks_in(span)) {
        treat_content(span);
        ++i;
      } else {
        const std::size_t end = end_of_reads(range.spans, i);
        treat_reads(std::span(range.spans).subspan(i, end - i));
        i = end;
      }
    }
    return result;
  }

  // The read spans from `begin` on that touch and know no chunks.
  std::size_t end_of_reads(std::span<const Span> spans, std::size_t begin) const {
    std::size_t end = begin + 1;
    while (end < spans.size() && spans[end].kind == SpanKind::read && !knows_chunks_in(spans[end]) &&
           spans[end].extent.offset == spans[end - 1].extent.end())
      ++end;
    return end;
  }

  bool knows_chunks_in(const Span& span) const {
    return span.cut == CutKind::content && !known_.empty() && known_.front().offset < span.extent.end();
  }

  void reuse(Extent extent) {
    for (; !known_.empty() && known_.front().offset < extent.end(); known_ = known_.subspan(1))
      add_known(known_.front());
  }
  void add_known(const StoredChunk& chunk) {
    result_->chunks.push_back(chunk);
    result_->bytes_reused += chunk.length;
  }

  // A span that is cut by content, some of whose chunks are known: it is read and cut only from where they
  // end to where a cut falls on the beginning of another one.
  void treat_content(const Span& span) {
    const std::uint64_t end = span.extent.end();
    std::uint64_t window = span.extent.offset;  // offset of the buffer's first byte
    std::size_t filled = 0;
    Cutter& cutting = cutter(span.cut);
    cutting.begin(span);
    const auto drop = [&](std::uint64_t length) {
      const std::size_t dropped = std::min<std::uint64_t>(length, filled);
      std::memmove(buffer_.data(), buffer_.data() + dropped, filled - dropped);
      filled -= dropped;
      window += length;
    };
    while (window < end) {
      os::throw_if_stopped(stop_);
      while (!known_.empty() && known_.front().offset < window) known_ = known_.subspan(1);
      if (!known_.empty() && known_.front().offset == window) {
        add_known(known_.front());
        drop(known_.front().length);
        cutting.begin(span);
        continue;
      }
      if (filled > 0) {
        const Cut cut = cutting.next(window, buffer_.view(0, filled), window + filled == end);
        if (cut.length > 0) {
          add_chunk(window, buffer_.view(0, cut.length), cut.zero);
          save_batch();  // it looks into the buffer, which moves now
          drop(cut.length);
          continue;
        }
      }
      filled += read_step(window + filled, end, filled);
    }
    while (!known_.empty() && known_.front().offset < end) known_ = known_.subspan(1);
  }

  // Reads on behind the `filled` bytes of the buffer; returns how much.
  std::size_t read_step(std::uint64_t position, std::uint64_t end, std::size_t filled) {
    const std::size_t wanted =
        std::min({end - position, kReadStep - position % kReadStep, std::uint64_t{buffer_.size() - filled}});
    if (wanted == 0)
      throw Error(ErrorKind::internal, fmt::format("no cut was found before byte {}", position));
    shared_.reader.read(position, buffer_.span().subspan(filled, wanted), result_->lost, stop_);
    shared_.progress.advance(wanted);
    result_->bytes_read += wanted;
    return wanted;
  }

  // Read spans that touch: one reading, or a window that moves along when they are longer than the buffer.
  void treat_reads(std::span<const Span> spans) {
    const std::uint64_t end = spans.back().extent.end();
    std::uint64_t window = spans.front().extent.offset;  // offset of the buffer's first byte
    std::size_t used = 0, filled = 0;                    // bytes of the buffer that are cut, and read
    bool begun = false;
    while (!spans.empty()) {
      os::throw_if_stopped(stop_);
      if (used >= kBatchBytes || buffer_.size() - filled < kReadStep) {
        save_batch();  // it looks into the buffer, which moves now
        std::memmove(buffer_.data(), buffer_.data() + used, filled - used);
        window += used;
        filled -= std::exchange(used, 0);
      }
      filled += read_step(window + filled, end, filled);

      while (!spans.empty()) {
        const Span& span = spans.front();
        if (!begun) cutter(span.cut).begin(span);
        begun = true;
        const std::uint64_t here = window + used;
        const bool last = span.extent.end() <= window + filled;
        const ByteView rest = buffer_.view(used, last ? span.extent.end() - here : filled - used);
        if (rest.empty()) break;
        const Cut cut = cutter(span.cut).next(here, rest, last);
        if (cut.length == 0) break;
        add_chunk(here, rest.first(cut.length), cut.zero);
        used += cut.length;
        if (here + cut.length == span.extent.end()) {
          spans = spans.subspan(1);
          begun = false;
        }
      }
    }
    save_batch();
  }

  void add_chunk(std::uint64_t offset, ByteView bytes, bool zero) {
    if (zero) {
      add_zeros({offset, bytes.size()});
      return;
    }
    batch_.push_back(bytes);
    batch_slots_[batch_.size() - 1] = result_->chunks.size();
    result_->chunks.push_back({offset, static_cast<std::uint32_t>(bytes.size()), 1, {}});
    if (batch_.size() == kHashBatch) save_batch();
  }

  void save_batch() {
    const auto digests = std::span(batch_digests_).first(batch_.size());
    crypto::sha256_many(batch_, digests);
    for (std::size_t i = 0; i < batch_.size(); ++i) {
      repo::BlobId& id = result_->chunks[batch_slots_[i]].id;
      id.bytes = digests[i];
      saver_.save(id, batch_[i]);
    }
    batch_.clear();
  }

  void add_zeros(Extent extent) {
    result_->bytes_zero += extent.length;
    auto& chunks = result_->chunks;
    const auto count = static_cast<std::uint32_t>(extent.length / kZeroChunk);
    const auto rest = static_cast<std::uint32_t>(extent.length % kZeroChunk);
    if (count > 0) {
      const repo::BlobId& id = shared_.zeros.get(kZeroChunk, saver_);
      if (!chunks.empty() && chunks.back().id == id) {
        chunks.back().repeat += count;
      } else {
        chunks.push_back({extent.offset, kZeroChunk, count, id});
      }
    }
    if (rest > 0) chunks.push_back({extent.end() - rest, rest, 1, shared_.zeros.get(rest, saver_)});
  }

  Cutter& cutter(CutKind kind) {
    auto& slot = cutters_.at(static_cast<std::size_t>(kind));
    if (!slot) slot = make_cutter(kind, shared_.content_cutter);
    return *slot;
  }

  Shared& shared_;
  ChunkSaver& saver_;
  const std::stop_token stop_;
  Bytes buffer_;
  RangeResult* result_ = nullptr;
  std::span<const StoredChunk> known_;  // of the range at hand, what is left of them
  std::vector<ByteView> batch_;
  std::array<std::size_t, kHashBatch> batch_slots_{};
  std::array<crypto::Digest, kHashBatch> batch_digests_{};
  std::array<std::unique_ptr<Cutter>, 4> cutters_;
};

}  // namespace

PassResult run_pass(const PassSource& source, std::span<ChunkSaver* const> savers, ChunkSink& sink,
                    Progress& progress, std::stop_token stop) {
  require_tiling(source.plan);
  Shared shared(source, sink, progress);
  os::ThreadGroup workers(std::move(stop));
  for (ChunkSaver* saver : savers)
    workers.spawn(
        [&shared, saver](std::stop_token token) { Worker(shared, *saver, std::move(token)).run(); });
  workers.join();
  shared.require_valid();
  return shared.results.take();
}

}  // namespace respaldo::backup
