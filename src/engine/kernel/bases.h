// Bases of the running system's volumes: thick ones through their COW stores, thin ones through the pool's
// metadata.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base.h"
#include "engine/kernel/world.h"

namespace respaldo::engine {

// The UUID of the volume that a base is of, or that any other snapshot was made of.
std::string volume_uuid_of(const LvRow& snapshot);

// As a base, without a token (unless it has one). `rows`: the group's volumes.
BaseIdentity base_identity(const LvRow& snapshot, const std::vector<LvRow>& rows);

// Bases of the volume with that UUID, newest first. `now` is the snapshot that is read: it was made before
// this is called, and stays until the bases are gone.
std::vector<std::unique_ptr<Base>> find_bases(const std::shared_ptr<World>& world,
                                              const std::vector<LvRow>& rows, const std::string& origin_uuid,
                                              const LvRow& now);

// The physical volumes that a volume of these rows lies on; where that is not known, none.
std::vector<std::string> physical_volumes_below(const std::vector<LvRow>& rows, const LvRow& volume);
// Those on which a thick snapshot's store lies, and its origin does not: without them the origin, too, could not be activated.
std::vector<std::string> away_from_origin(const std::vector<LvRow>& rows, const LvRow& snapshot);

// Gives a snapshot the tags of a base, and takes those of the run from it, in one change of the group.
void tag_as_base(World& world, const LvRow& snapshot, const std::string& token);

// A pool's metadata snapshot that a run which died had reserved. Releases it when it is still the same one;
// gives the problem when that cannot be told or done, else "". Absent: the pool is not active, and nobody knows.
inline constexpr const char* kMetadataSnapshotIntent = "metadata snapshot";
std::optional<std::string> release_metadata_snapshot(World& world, const journal::Intent& intent);

}  // namespace respaldo::engine
