#include "dm/cow_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "dm/cow_format.h"

namespace respaldo::dm {

namespace {

constexpr std::uint64_t kLargestChunkNumber = 1ULL << 55;  // chunks are at least 512 bytes

Error damaged(const block::Device& cow, std::string what) {
  return Error(ErrorKind::corrupt, fmt::format("COW store {}: {}", cow.describe(), what),
               "the snapshot cannot be read; its origin is not affected");
}

CowHeader read_header(const block::Device& cow) {
  CowHeader header;
  if (cow.size() < kSector) throw damaged(cow, "too small to hold a header");
  Bytes sector = block::read(cow, 0, kSector);
  std::memcpy(&header, sector.data(), sizeof(header));
  return header;
}

void reject_repeats(const block::Device& cow, const std::vector<CowStore::Exception>& exceptions) {
  std::vector<std::uint64_t> stored;
  stored.reserve(exceptions.size());
  for (const auto& exception : exceptions) stored.push_back(exception.new_chunk);
  std::sort(stored.begin(), stored.end());
  const auto twice = std::adjacent_find(stored.begin(), stored.end());
  if (twice != stored.end()) throw damaged(cow, fmt::format("two exceptions lie in its chunk {}", *twice));
}

}  // namespace

std::uint32_t CowStatus::percent_x100() const {
  if (!valid) return 10000;
  if (used == metadata) return 0;
  if (used == total || total == 0) return 10000;
  // lvm2 counts in millionths of a percent, clamps, and prints a float with two digits.
  constexpr std::int32_t kOne = 1000000, kHundred = 100 * kOne, kHundredth = kOne / 100;
  auto percent =
      static_cast<std::int32_t>(kOne * (static_cast<double>(used) / static_cast<double>(total)) * 100);
  percent = std::clamp(percent, 1, kHundred - 1);
  if (percent < kHundredth) return 1;
  if (percent > kHundred - kHundredth) return 9999;
  const float shown = static_cast<float>(percent) / static_cast<float>(kOne);
  return static_cast<std::uint32_t>(std::nearbyint(static_cast<double>(shown) * 100));
}

std::uint64_t cow_store_maximum(std::uint64_t origin_bytes, std::uint64_t chunk_bytes) {
  const std::uint64_t data = origin_bytes / chunk_bytes + (origin_bytes % chunk_bytes != 0 ? 1 : 0);
  const std::uint64_t areas = data / (chunk_bytes / sizeof(CowEntry)) + 1;
  return (1 + data + areas) * chunk_bytes;
}

CowStore CowStore::load(const block::Device& cow, std::uint64_t fallback_chunk) {
  const CowHeader header = read_header(cow);
  CowStore store;
  store.fresh_ = header.magic.get() == 0;
  if (!store.fresh_ && header.magic.get() != kCowMagic)
    throw damaged(cow, fmt::format("no COW header (magic {:#010x})", header.magic.get()));
  const std::uint64_t chunk =
      store.fresh_ ? fallback_chunk : std::uint64_t{header.chunk_sectors.get()} * kSector;
  if (!store.fresh_ && header.version.get() != kCowVersion)
    throw Error(ErrorKind::unsupported,
                fmt::format("COW store {}: version {} is not known", cow.describe(), header.version.get()));
  if (!CowGeometry::chunk_is_sane(chunk))
    throw damaged(cow, fmt::format("its chunk size of {} bytes is wrong", chunk));

  CowStatus& status = store.status_;
  status.chunk = chunk;
  status.total = cow.size();
  if (!store.fresh_ && header.valid.get() == 0) {
    status.valid = false;
    status.used = status.total;
    return store;
  }
  const CowGeometry geometry{chunk, cow.size() / chunk};
  std::uint64_t next_free = 2, area = 0;
  Bytes entries(store.fresh_ ? 0 : chunk);
  for (bool full = !store.fresh_; full; ++area) {
    const std::uint64_t place = geometry.area_chunk(area);
    if (place >= geometry.chunks)
      throw damaged(cow, fmt::format("exception area {} lies past its end ({} bytes)", area, cow.size()));
    cow.read_at(place * chunk, entries);
    for (std::uint64_t i = 0; i < geometry.entries(); ++i) {
      CowEntry entry;
      std::memcpy(&entry, entries.data() + i * sizeof(entry), sizeof(entry));
      const Exception exception{entry.old_chunk.get(), entry.new_chunk.get()};
      full = exception.new_chunk != 0;
      if (!full) break;
      if (!geometry.is_data_chunk(exception.new_chunk) || exception.old_chunk >= kLargestChunkNumber)
        throw damaged(cow, fmt::format("exception {} of area {} (chunk {} in chunk {}) points outside", i,
                                       area, exception.old_chunk, exception.new_chunk));
      if (!store.map_.insert(exception.old_chunk, exception.new_chunk))
        throw damaged(cow, fmt::format("chunk {} has two exceptions", exception.old_chunk));
      store.exceptions_.push_back(exception);
      next_free = std::max(next_free, exception.new_chunk + 1);
    }
  }
  reject_repeats(cow, store.exceptions_);
  status.exceptions = store.exceptions_.size();
  status.used = geometry.skip_area(next_free) * chunk;
  status.metadata = (1 + std::max<std::uint64_t>(area, 1)) * chunk;
  return store;
}

void format_cow_store(block::WritableDevice& cow, std::uint64_t chunk_bytes) {
  if (!CowGeometry::chunk_is_sane(chunk_bytes))
    throw Error(ErrorKind::usage, fmt::format("a COW store cannot have chunks of {} bytes", chunk_bytes));
  if (cow.size() / chunk_bytes < 3)
    throw Error(ErrorKind::usage,
                fmt::format("a COW store of {} bytes is too small: it needs 3 chunks of {} bytes", cow.size(),
                            chunk_bytes));
  // The header last: a store cut off here is no store, never one with somebody's old exceptions.
  const Bytes empty = Bytes::zeroed(chunk_bytes);
  cow.write_at(0, empty);
  cow.write_at(chunk_bytes, empty);
  cow.flush();
  Bytes first = Bytes::zeroed(chunk_bytes);
  CowHeader header;
  header.magic.set(kCowMagic);
  header.valid.set(1);
  header.version.set(kCowVersion);
  header.chunk_sectors.set(static_cast<std::uint32_t>(chunk_bytes / kSector));
  std::memcpy(first.data(), &header, sizeof(header));
  cow.write_at(0, first);
  cow.flush();
}

}  // namespace respaldo::dm
