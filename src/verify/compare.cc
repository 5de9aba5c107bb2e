#include "verify/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/bytes.h"
#include "base/error.h"
#include "base/units.h"
#include "os/thread_group.h"

namespace respaldo::verify {

namespace {

constexpr std::uint64_t kBlock = 4 * kKiB, kPiece = 4 * kMiB;

// Ranges of one kind, in order within one piece.
void append(std::vector<Extent>& ranges, Extent extent) {
  if (!ranges.empty() && ranges.back().end() == extent.offset)
    ranges.back().length += extent.length;
  else
    ranges.push_back(extent);
}

bool is_known_zero(const block::Device& device, Extent range) {
  const auto runs = device.runs(range);
  return std::ranges::all_of(runs, [](const block::Run& run) { return run.kind == block::RunKind::zero; });
}

struct Ranges {
  std::vector<Extent> differing, zero;
};

// Zeros on one side; the other side has something else in free space alone.
bool only_free_differs(ByteView zeros, ByteView other, std::uint64_t offset, const ExtentSet& free) {
  constexpr std::uint64_t kSector = 512;  // no filesystem counts in less
  if (!is_zero(zeros)) return false;
  for (std::uint64_t at = 0; at < other.size(); at += kSector) {
    const std::uint64_t length = std::min<std::uint64_t>(kSector, other.size() - at);
    if (!is_zero(other.subspan(at, length)) && !free.contains({offset + at, length})) return false;
  }
  return true;
}

Ranges compare_piece(const block::Device& image, const block::Device& device, const ExtentSet& may_be_zero,
                     Extent piece) {
  Ranges ranges;
  if (is_known_zero(image, piece) && is_known_zero(device, piece)) return ranges;
  const Bytes a = block::read(image, piece.offset, piece.length);
  const Bytes b = block::read(device, piece.offset, piece.length);
  for (std::uint64_t at = 0; at < piece.length; at += kBlock) {
    const std::uint64_t length = std::min(kBlock, piece.length - at);
    if (std::memcmp(a.data() + at, b.data() + at, length) == 0) continue;
    const bool is_free =
        only_free_differs(a.view(at, length), b.view(at, length), piece.offset + at, may_be_zero);
    append(is_free ? ranges.zero : ranges.differing, {piece.offset + at, length});
  }
  return ranges;
}

void finish(std::vector<Extent>& ranges, std::uint64_t& bytes, std::uint64_t& count) {
  std::ranges::sort(ranges, {}, &Extent::offset);
  std::vector<Extent> joined;
  for (const Extent& range : ranges) append(joined, range);
  for (const Extent& range : joined) bytes += range.length;
  count = joined.size();
  if (joined.size() > kMostRanges) joined.resize(kMostRanges);
  ranges = std::move(joined);
}

}  // namespace

Comparison compare(const block::Device& image, const block::Device& device, const ExtentSet& may_be_zero,
                   unsigned threads, Progress& progress, const std::stop_token& stop) {
  if (image.size() != device.size())
    throw Error(ErrorKind::usage,
                fmt::format("{} has {} bytes, {} has {}", image.describe(), image.size(), device.describe(),
                            device.size()),
                "only what has one size can be compared");
  const ProgressPhase phase(progress, "comparing", image.size());
  Comparison result;
  std::mutex mutex;
  std::atomic<std::uint64_t> next = 0;
  os::ThreadGroup workers(stop);
  for (unsigned i = 0; i < std::max(threads, 1U); ++i)
    workers.spawn([&](const std::stop_token& token) {
      for (std::uint64_t at = next.fetch_add(kPiece); at < image.size(); at = next.fetch_add(kPiece)) {
        os::throw_if_stopped(token);
        const Extent piece{at, std::min(kPiece, image.size() - at)};
        const Ranges ranges = compare_piece(image, device, may_be_zero, piece);
        progress.advance(piece.length);
        std::lock_guard lock(mutex);
        result.compared += piece.length;
        result.differing.insert(result.differing.end(), ranges.differing.begin(), ranges.differing.end());
        result.zero_in_image.insert(result.zero_in_image.end(), ranges.zero.begin(), ranges.zero.end());
      }
    });
  workers.join();
  finish(result.differing, result.differing_bytes, result.differing_ranges);
  finish(result.zero_in_image, result.zero_bytes, result.zero_ranges);
  return result;
}

}  // namespace respaldo::verify
