// What moved on a volume since a base was made.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/extent.h"
#include "block/device.h"
#include "dm/thin_metadata.h"

namespace respaldo::change {

enum class Source {
  full,   // nothing is known: every byte counts as changed
  thick,  // the exception table of a thick snapshot
  thin,   // the mappings of two thin devices
};
std::string_view to_string(Source source);

// The bytes of a volume that may differ from what the base shows. It may name too many, never too few: bytes
// outside `changed` are proven equal. A value.
struct ChangeMap {
  std::uint64_t size = 0;  // bytes of the volume
  ExtentSet changed;       // within [0, size)
  Source source = Source::full;
  std::string token;  // of the base; empty for a full scan
};

// The honest fallback.
ChangeMap full_scan(std::uint64_t size);

// What was written to the origin of a thick snapshot since it was made: the chunks of its exception table, in
// which writes to the snapshot itself count, too. `cow` is the COW store, `fallback_chunk` as in
// dm::CowStore::load.
//
// REQUIRES that whatever the result is compared with (a newer snapshot) existed before this is called: the
// origin may be written meanwhile, which only adds to the table. When the store is live, the caller must see
// afterwards that the kernel still calls it valid: the table of a store that died is not complete.
// Error(overflow) for a dead store, Error(corrupt) for a damaged one.
ChangeMap cow_delta(const block::Device& cow, std::uint64_t fallback_chunk, std::uint64_t size,
                    std::string token);

// Where thin device `now` is not mapped as `base` is. What is mapped to the same data blocks is equal, since
// the kernel never writes to a block that two devices share. Blocks past `size` do not count. REQUIRES that
// `now` was made from the origin, and that neither was written since (but for writes to `base`, which are
// seen). Errors as dm::ThinMetadata::differences.
ChangeMap thin_delta(const dm::ThinMetadata& metadata, std::uint32_t base, std::uint32_t now,
                     std::uint64_t size, std::string token);

}  // namespace respaldo::change
