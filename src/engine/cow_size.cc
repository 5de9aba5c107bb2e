#include "engine/cow_size.h"

#include <algorithm>

#include "base/units.h"
#include "dm/cow_store.h"

namespace respaldo::engine {

namespace {

constexpr std::uint64_t kSmallestGoodStore = 64 * kMiB;

std::uint64_t up(std::uint64_t bytes, std::uint64_t unit) { return (bytes + unit - 1) / unit * unit; }
std::uint64_t down(std::uint64_t bytes, std::uint64_t unit) { return bytes / unit * unit; }

}  // namespace

std::uint64_t largest_cow(const CowSpace& space) {
  return up(dm::cow_store_maximum(space.origin, space.chunk), space.extent);
}

std::uint64_t kept_free(const CowSpace& space, const std::optional<Amount>& asked) {
  if (asked) return up(asked->resolve({space.origin, space.vg_size, space.vg_free, 0}), space.extent);
  return down(std::min(space.vg_size / 100, space.vg_free / 10), space.extent);
}

std::uint64_t new_cow_size(const CowSpace& space, const std::optional<Amount>& asked,
                           const std::optional<std::uint64_t>& expected,
                           const std::optional<Amount>& keep_free) {
  const std::uint64_t largest = largest_cow(space);
  if (asked) {
    const std::uint64_t size =
        up(asked->resolve({space.origin, space.vg_size, space.vg_free, 0}), space.extent);
    return std::min(std::max(size, space.extent), largest);
  }
  const std::uint64_t kept = kept_free(space, keep_free);
  const std::uint64_t room = down(space.vg_free > kept ? space.vg_free - kept : 0, space.extent);
  const std::uint64_t wish =
      std::max(expected ? std::min(*expected, largest) * 2 : space.origin / 5, kSmallestGoodStore);
  return std::min({up(wish, space.extent), largest, room});
}

std::uint64_t cow_growth(const CowSpace& space, std::uint64_t size, std::uint64_t wanted,
                         std::uint64_t keep_free_bytes) {
  const std::uint64_t largest = largest_cow(space);
  const std::uint64_t useful = largest > size ? largest - size : 0;
  const std::uint64_t room =
      down(space.vg_free > keep_free_bytes ? space.vg_free - keep_free_bytes : 0, space.extent);
  return std::min({up(wanted, space.extent), useful, room});
}

}  // namespace respaldo::engine
