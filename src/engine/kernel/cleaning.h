// What runs that died left behind.
#pragma once

#include "engine/kernel/world.h"

namespace respaldo::engine {

// Finds leftovers by the journals of dead runs and by the owners' tags, and removes them (not with dry_run).
// A volume is left alone when its owner lives, when it is a base, when another machine's process owns it, or
// when it carries no owner's tag. Repeating it is harmless.
CleanReport clean_leftovers(World& world, bool dry_run);

// Whether nobody will ever remove this volume.
bool is_leftover(const LvRow& row);

}  // namespace respaldo::engine
