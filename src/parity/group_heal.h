// Packs that are lost, or damaged beyond what their sidecars can bring back, out of their groups.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "parity/group_format.h"
#include "parity/object_reading.h"

namespace respaldo::parity {

// A pack that is wanted back: what could be read of it, if anything.
struct LostPack {
  std::optional<Reading> reading;
  std::optional<Sidecar> sidecar;
  ExtentSet not_stored{};  // bytes of `reading` that the store does not have: what a dry run healed
};
using LoadLost = std::function<LostPack(const std::string& pack)>;
// True when the pack lies whole in the store from then on.
using TakeHealed = std::function<bool(const std::string& pack, ByteView bytes, const LostPack& was)>;

// Solves the group for its members in `lost`; all others must be whole. `take` gets each pack that came back, proven by
// its name (and of `was` the sidecar alone). Memory does not grow with the damage: it is found out first what can be
// solved at all, and then a few packs at a time are, with a window of every other.
void heal_in_group(store::Backend& backend, const Group& group, const std::set<std::string>& lost,
                   const LoadLost& load, const TakeHealed& take);

}  // namespace respaldo::parity
