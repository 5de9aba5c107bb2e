#include "change/change_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "dm/cow_store.h"

namespace respaldo::change {

std::string_view to_string(Source source) {
  switch (source) {
    case Source::full:
      return "full";
    case Source::thick:
      return "thick";
    case Source::thin:
      return "thin";
  }
  throw Error(ErrorKind::internal, "unknown source of changes");
}

ChangeMap full_scan(std::uint64_t size) {
  ChangeMap map;
  map.size = size;
  map.changed.add({0, size});
  return map;
}

ChangeMap cow_delta(const block::Device& cow, std::uint64_t fallback_chunk, std::uint64_t size,
                    std::string token) {
  const dm::CowStore store = dm::CowStore::load(cow, fallback_chunk);
  if (!store.status().valid)
    throw Error(ErrorKind::overflow,
                fmt::format("{} is invalid: its COW store overflowed, or failed", cow.describe()));
  std::vector<std::uint64_t> chunks;
  chunks.reserve(store.exceptions().size());
  for (const auto& exception : store.exceptions()) chunks.push_back(exception.old_chunk);
  std::ranges::sort(chunks);
  ChangeMap map{size, {}, Source::thick, std::move(token)};
  const std::uint64_t chunk = store.status().chunk;
  for (const std::uint64_t number : chunks) {
    if (number >= size / chunk + 1) break;  // past the end, or what would overflow
    map.changed.add(intersect({number * chunk, chunk}, {0, size}));
  }
  return map;
}

ChangeMap thin_delta(const dm::ThinMetadata& metadata, std::uint32_t base, std::uint32_t now,
                     std::uint64_t size, std::string token) {
  ChangeMap map{size, {}, Source::thin, std::move(token)};
  const std::uint64_t block = metadata.block_size(), blocks = size / block + 1;
  for (const dm::ThinDifference& difference : metadata.differences(base, now)) {
    if (difference.virtual_block >= blocks) break;
    const std::uint64_t count = std::min(difference.length, blocks - difference.virtual_block);
    map.changed.add(intersect({difference.virtual_block * block, count * block}, {0, size}));
  }
  return map;
}

}  // namespace respaldo::change
