#include "restore/image_restore.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "crypto/crypto.h"
#include "os/thread_group.h"
#include "restore/restore_plan.h"

namespace respaldo::restore {

namespace {

constexpr std::uint64_t kSparseUnit = 64 * kKiB;   // zeros of this size inside a chunk become holes, too
constexpr std::uint64_t kCompareRange = 16 * kMiB;  // of the target, read by one worker in one go

bool is_hole(const block::Run& run) { return run.kind == block::RunKind::zero; }

// One restore: what its workers share.
class Restore {
 public:
  Restore(const repo::IndexedRepository& repository, const view::StoredVolume& volume,
          block::WritableDevice& target, const ImageRestoreOptions& options, Progress& progress,
          std::stop_token stop)
      : repository_(repository),
        name_(printable(volume.str())),
        size_(volume.image_size),
        chunks_(view::image_chunks(repository, volume)),
        zeros_{chunks_.empty() ? 0 : chunks_.back().length},
        target_(target),
        options_(options),
        threads_(options.threads != 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency())),
        progress_(progress),
        stop_(std::move(stop)) {}

  ImageRestoreResult run() {
    const auto clock = std::chrono::steady_clock::now();
    if (options_.in_place) find_differences();
    try {
      write();
      target_.flush();
    } catch (...) {
      if (begun_ && options_.half_written) options_.half_written();
      throw;
    }
    ImageRestoreResult result;
    result.bytes_written = written_;
    result.bytes_zero = zero_;
    result.bytes_unchanged = unchanged_;
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - clock).count();
    return result;
  }

 private:
  // Reads the target and leaves out of chunks_ what is there already.
  void find_differences() {
    std::vector<std::uint8_t> same(chunks_.size(), 0);
    {
      const ProgressPhase phase(progress_, "compare", size_);
      std::mutex mutex;
      std::size_t next = 0;
      os::ThreadGroup workers(stop_);
      for (unsigned i = 0; i < threads_; ++i)
        workers.spawn([&](const std::stop_token& stop) {
          Bytes buffer;
          while (true) {
            os::throw_if_stopped(stop);
            std::size_t begin = 0, end = 0;
            {
              std::lock_guard lock(mutex);
              begin = end = next;
              while (end < chunks_.size() && chunks_[end].offset - chunks_[begin].offset < kCompareRange)
                ++end;
              next = end;
            }
            if (begin == end) return;
            compare(begin, end, buffer, same);
            for (std::size_t at = begin; at < end; ++at) {
              if (same[at] != 0) unchanged_ += chunks_[at].length;
              progress_.advance(chunks_[at].length);
            }
          }
        });
      workers.join();
    }
    std::size_t kept = 0;
    for (std::size_t at = 0; at < chunks_.size(); ++at)
      if (same[at] == 0) chunks_[kept++] = chunks_[at];
    chunks_.resize(kept);
  }

  // Which of some chunks are there. Hashed together: several at once take half the time of one after the other.
  void compare(std::size_t begin, std::size_t end, Bytes& buffer, std::vector<std::uint8_t>& same) const {
    std::uint64_t room = 0;
    for (std::size_t at = begin; at < end; ++at) room += chunks_[at].length;
    buffer.resize(room);
    std::vector<ByteView> messages;
    std::vector<std::size_t> hashed;
    std::size_t used = 0;
    for (std::size_t at = begin; at < end; ++at) {
      const view::ImageChunk& chunk = chunks_[at];
      const bool zeros = zeros_.contains(chunk.id);
      const MutableBytes bytes = buffer.span().subspan(used, chunk.length);
      try {
        if (zeros && std::ranges::all_of(target_.runs({chunk.offset, chunk.length}), is_hole)) {
          same[at] = 1;
          continue;
        }
        target_.read_at(chunk.offset, bytes);
      } catch (const Error&) {
        continue;  // writing it may mend the sector
      }
      if (zeros) {
        same[at] = is_zero(bytes) ? 1 : 0;
        continue;
      }
      used += chunk.length;
      messages.emplace_back(bytes);
      hashed.push_back(at);
    }
    std::vector<crypto::Digest> digests(messages.size());
    crypto::sha256_many(messages, digests);
    for (std::size_t i = 0; i < hashed.size(); ++i)
      same[hashed[i]] = digests[i] == chunks_[hashed[i]].id.bytes ? 1 : 0;
  }

  void write() {
    std::uint64_t total = 0;
    for (const view::ImageChunk& chunk : chunks_) total += chunk.length;
    const ProgressPhase phase(progress_, "restore", total);
    RestorePlan plan(repository_, chunks_, zeros_);
    if (!options_.target_reads_zero) in_context([&] { return name_; }, [&] { plan.require_stored(); });
    os::ThreadGroup workers(stop_);
    for (unsigned i = 0; i < threads_; ++i)
      workers.spawn([&](const std::stop_token& stop) {
        BlobReader reader(repository_);
        while (auto job = plan.next()) {
          os::throw_if_stopped(stop);
          write_job(*job, reader, stop);
        }
        while (const auto extent = plan.next_zeros()) {
          os::throw_if_stopped(stop);
          write_zeros(*extent);
        }
      });
    workers.join();
  }

  void write_job(const RestoreJob& job, BlobReader& reader, const std::stop_token& stop) {
    std::size_t at = 0;
    in_context(
        [&] { return fmt::format("{} at byte {}", name_, chunks_[job.chunks[job.first_chunk[at]]].offset); },
        [&] {
          reader.read(job.blobs, [&](std::size_t number, const Bytes& plain) {
            os::throw_if_stopped(stop);
            at = number;
            const std::size_t end =
                number + 1 < job.blobs.size() ? job.first_chunk[number + 1] : job.chunks.size();
            for (std::size_t i = job.first_chunk[number]; i < end; ++i)
              write_chunk(chunks_[job.chunks[i]], plain);
            at = std::min(number + 1, job.blobs.size() - 1);
          });
        });
  }

  void write_chunk(const view::ImageChunk& chunk, ByteView plain) {
    if (plain.size() != chunk.length)
      throw Error(ErrorKind::corrupt,
                  fmt::format("blob {} is {} bytes long, the index says {}", chunk.id.short_hex(),
                              plain.size(), chunk.length),
                  "run: respaldo check --read-data");
    if (options_.target_reads_zero) {
      write_sparse(chunk.offset, plain);
    } else {
      begun_ = true;
      target_.write_at(chunk.offset, plain);
      written_ += plain.size();
    }
    progress_.advance(chunk.length);
  }

  void write_sparse(std::uint64_t offset, ByteView plain) {
    std::size_t pending = 0;  // bytes before `at` that wait to be written
    std::size_t at = 0;
    const auto flush = [&] {
      if (pending == 0) return;
      target_.write_at(offset + at - pending, plain.subspan(at - pending, pending));
      written_ += pending;
      pending = 0;
    };
    while (at < plain.size()) {
      const std::size_t n =
          std::min<std::size_t>(plain.size() - at, kSparseUnit - (offset + at) % kSparseUnit);
      if (is_zero(plain.subspan(at, n))) {
        flush();
        zero_ += n;
      } else {
        pending += n;
      }
      at += n;
    }
    flush();
  }

  void write_zeros(Extent extent) {
    if (!options_.target_reads_zero)
      for (const block::Run& run : target_.runs(extent))
        if (run.kind != block::RunKind::zero) {
          begun_ = true;
          target_.zero(run.extent);
        }
    zero_ += extent.length;
    progress_.advance(extent.length);
  }

  const repo::IndexedRepository& repository_;
  const std::string name_;
  const std::uint64_t size_;
  std::vector<view::ImageChunk> chunks_;
  const view::ZeroBlobs zeros_;
  block::WritableDevice& target_;
  const ImageRestoreOptions options_;
  const unsigned threads_;
  Progress& progress_;
  const std::stop_token stop_;
  std::atomic<bool> begun_ = false;  // to write over what was there
  std::atomic<std::uint64_t> written_ = 0, zero_ = 0, unchanged_ = 0;
};

}  // namespace

ImageRestoreResult restore_image(const repo::IndexedRepository& repository, const view::StoredVolume& volume,
                                 block::WritableDevice& target, const ImageRestoreOptions& options,
                                 Progress& progress, std::stop_token stop) {
  if (!volume.has_image)
    throw Error(ErrorKind::not_found, fmt::format("this backup has no image of {}", printable(volume.str())),
                "its files can be restored: respaldo restore --files");
  if (target.size() < volume.image_size)
    throw Error(ErrorKind::no_space,
                fmt::format("{} has {}, the image of {} needs {} ({} bytes)", target.describe(),
                            format_size(target.size()), printable(volume.str()),
                            format_size(volume.image_size), volume.image_size),
                "give a target at least as large as the volume was");
  return Restore(repository, volume, target, options, progress, std::move(stop)).run();
}

}  // namespace respaldo::restore
