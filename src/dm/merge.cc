#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/units.h"
#include "dm/cow_format.h"
#include "dm/cow_store.h"

namespace respaldo::dm {

namespace {

constexpr std::uint64_t kBatch = 64 * kMiB;  // copied between two flushes
constexpr std::uint64_t kBuffer = 4 * kMiB;

// One run of chunks that lie in a row both in the origin and in the store.
void copy_run(block::WritableDevice& origin, const block::Device& cow, std::uint64_t chunk,
              CowStore::Exception first, std::uint64_t count, Bytes& buffer) {
  const std::uint64_t to = first.old_chunk * chunk, from = first.new_chunk * chunk;
  const std::uint64_t end = std::min(to + count * chunk, origin.size());
  for (std::uint64_t at = to; at < end;) {
    const std::uint64_t n = std::min(end - at, kBuffer);
    buffer.resize(n);
    cow.read_at(from + (at - to), buffer);
    origin.write_at(at, buffer);
    at += n;
  }
}

}  // namespace

void merge_snapshot(block::WritableDevice& origin, block::WritableDevice& cow, std::uint64_t fallback_chunk,
                    const std::function<void(std::uint64_t)>& merged) {
  const CowStore store = CowStore::load(cow, fallback_chunk);
  if (!store.status().valid)
    throw Error(ErrorKind::overflow,
                fmt::format("COW store {} is invalid: there is nothing to merge", cow.describe()));
  const std::uint64_t chunk = store.status().chunk;
  const CowGeometry geometry{chunk, cow.size() / chunk};
  const std::vector<CowStore::Exception>& list = store.exceptions();
  for (const CowStore::Exception& exception : list)
    if (exception.old_chunk >= (origin.size() + chunk - 1) / chunk)
      throw Error(ErrorKind::corrupt,
                  fmt::format("COW store {}: chunk {} lies past the end of {} ({} bytes)", cow.describe(),
                              exception.old_chunk, origin.describe(), origin.size()));

  const std::uint64_t most = std::max<std::uint64_t>(kBatch / chunk, 1);
  Bytes buffer;
  for (std::size_t end = list.size(); end > 0;) {
    // From the last entry backwards, at most one area at once. Entries go only when the origin has the data.
    const std::size_t area = (end - 1) / geometry.entries();
    const std::size_t begin = std::max(area * geometry.entries(), end - std::min<std::size_t>(end, most));
    for (std::size_t i = begin; i < end;) {
      std::size_t next = i + 1;
      while (next < end && list[next].old_chunk == list[next - 1].old_chunk + 1 &&
             list[next].new_chunk == list[next - 1].new_chunk + 1)
        ++next;
      copy_run(origin, cow, chunk, list[i], next - i, buffer);
      i = next;
    }
    origin.flush();
    const std::size_t first = begin - area * geometry.entries();
    cow.write_at(geometry.area_chunk(area) * chunk + first * sizeof(CowEntry),
                 Bytes::zeroed((end - begin) * sizeof(CowEntry)));
    cow.flush();
    if (merged) merged((end - begin) * chunk);
    end = begin;
  }
}

}  // namespace respaldo::dm
