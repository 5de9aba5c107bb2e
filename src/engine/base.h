// Bases: snapshots that stay between two backups, so that the second one knows what changed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "change/change_map.h"
#include "engine/volume_engine.h"

namespace respaldo::engine {

// The tags of a base: this one, and one with its token.
inline constexpr std::string_view kBaseTag = "respaldo_base", kBaseTokenTagPrefix = "respaldo_base_";
// The token in the tags of a logical volume; empty when it is no base.
inline std::string base_token(const std::vector<std::string>& tags) {
  for (const std::string& tag : tags)
    if (tag.starts_with(kBaseTokenTagPrefix)) return tag.substr(kBaseTokenTagPrefix.size());
  return {};
}

// Bases of moves to another group (engine/group_move.h) have such tokens: no backup uses or removes them.
inline constexpr std::string_view kMoveTokenMark = "move";
inline bool is_base_of_move(const std::string& token) { return token.find(kMoveTokenMark) != std::string::npos; }

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

// What a lease can do besides, where its engine keeps bases.
class BaseKeeper {
 public:
  virtual ~BaseKeeper() = default;
  // Bases of the volume, newest first; found after what this lease shows was held still.
  virtual std::vector<std::unique_ptr<Base>> bases() = 0;
  // The same of moves.
  virtual std::vector<std::unique_ptr<Base>> bases_of_moves() { return {}; }
  // What this lease's snapshot would be as a base, without a token. Absent when it cannot become one:
  // base_problem() says why.
  virtual std::optional<BaseIdentity> as_base() const = 0;
  virtual std::string base_problem() const = 0;
  // From now on the snapshot is a base: it carries the token, and release() leaves it. REQUIRES as_base().
  virtual void keep_as_base(const std::string& token) = 0;
};
// The same lease seen as one; null when it is none.
inline BaseKeeper* keeper(SnapshotLease& lease) { return dynamic_cast<BaseKeeper*>(&lease); }

// A base as people see it.
struct BaseInfo {
  VolumeName name;     // of the snapshot
  std::string volume;  // LV of its origin
  std::string uuid, token;
  std::optional<CowFigures> cow;  // thick ones
};

// What an engine can do besides, where it keeps bases.
class BaseEngine {
 public:
  virtual ~BaseEngine() = default;
  // As VolumeEngine::acquire, but with a snapshot that may become a base, even when nobody writes the volume.
  // Where none can be made, the lease says so in base_problem().
  virtual std::unique_ptr<SnapshotLease> acquire_for_base(const VolumeName& name,
                                                          const AcquireOptions& options) = 0;
  virtual std::vector<BaseInfo> list_bases() = 0;
  // It must have that UUID: Error(refused) for what is no base.
  virtual void remove_base(const VolumeName& base, const std::string& uuid) = 0;
};
// The same engine seen as one; null when it is none.
inline BaseEngine* base_engine(VolumeEngine& engine) { return dynamic_cast<BaseEngine*>(&engine); }

}  // namespace respaldo::engine
