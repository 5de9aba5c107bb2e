// Packs that are lost, or damaged beyond what their sidecars can bring back, out of their groups.
#pragma once

#include <map>
#include <set>
#include <string>

#include "parity/group_format.h"
#include "parity/object_reading.h"

namespace respaldo::parity {

// A pack that is wanted back: what could be read of it, if anything.
struct LostPack {
  std::optional<Reading> reading;
  std::optional<Sidecar> sidecar;
};

// Solves the group for those of its members that are in `lost`; all other members must be whole. Returns the
// packs that came back, proven by their names. Memory: the lost members, and a window of every other.
std::map<std::string, Bytes> heal_in_group(store::Backend& backend, const Group& group,
                                           const std::map<std::string, LostPack>& lost);

}  // namespace respaldo::parity
