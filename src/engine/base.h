// Bases: snapshots that stay between two backups, so that the second one knows what changed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "change/change_map.h"

namespace respaldo::engine {

// The tags of a base: this one, and one with its token.
inline constexpr std::string_view kBaseTag = "respaldo_base", kBaseTokenTagPrefix = "respaldo_base_";
// The token in the tags of a logical volume; empty when it is no base.
std::string base_token(const std::vector<std::string>& tags);

// What tells one base from every other snapshot. Recorded in the backup that was read from it, and compared
// when the base is found again: all of it must be the same.
struct BaseIdentity {
  std::string token;  // random; the snapshot carries it in a tag (journal/names.h)
  change::Source source = change::Source::thick;
  std::string snapshot_uuid, origin_uuid, vg_uuid;
  std::uint64_t size = 0;  // bytes that it shows
  std::uint64_t chunk =
      0;                  // bytes in which changes are counted: a chunk of the COW store, a block of the pool
  std::string pool_uuid;  // thin
  std::optional<std::uint32_t> thin_id;
  friend bool operator==(const BaseIdentity&, const BaseIdentity&) = default;
};

// A base that was found. Belongs to the lease that found it and must not outlive it.
class Base {
 public:
  virtual ~Base() = default;
  virtual std::string name() const = 0;  // "VG/LV" of the snapshot
  virtual const BaseIdentity& identity() const = 0;
  // Bytes that may differ between what the base shows and what the lease that found it shows. Error(overflow)
  // when the base died, Error(busy, corrupt, unsupported, ...) when it cannot be told: then all must be read.
  virtual change::ChangeMap changes() const = 0;
  virtual void remove() = 0;
};

}  // namespace respaldo::engine
