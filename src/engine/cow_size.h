// How large a COW store is made, and how far it may grow. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/amount.h"

namespace respaldo::engine {

struct CowSpace {
  std::uint64_t origin = 0, vg_size = 0, vg_free = 0, extent = 0;  // bytes
  std::uint64_t chunk = 4096;
};

// The largest store that is of use, in whole extents: it can never overflow.
std::uint64_t largest_cow(const CowSpace& space);

// What a store sized by us leaves free: what was asked for; else 1 % of the group, but never more than a
// tenth of what is free now. In whole extents.
std::uint64_t kept_free(const CowSpace& space, const std::optional<Amount>& asked);

// The size of a new store, whole extents. In this order: what the user asked for (`asked`; never more than
// largest_cow); twice what earlier runs used at most (`expected`); a fifth of the origin. The last two: at
// least 64 MiB or what can be used, and never into kept_free. 0: there is no room for any store.
std::uint64_t new_cow_size(const CowSpace& space, const std::optional<Amount>& asked,
                           const std::optional<std::uint64_t>& expected,
                           const std::optional<Amount>& keep_free);

// By how much a store of `size` may grow when `wanted` more is wished for; whole extents, 0 for not at all.
std::uint64_t cow_growth(const CowSpace& space, std::uint64_t size, std::uint64_t wanted,
                         std::uint64_t keep_free_bytes);

}  // namespace respaldo::engine
