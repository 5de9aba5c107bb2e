// What runs that died left behind.
#pragma once

#include "engine/kernel/world.h"

namespace respaldo::engine {

// Finds leftovers by the journals of dead runs and by the owners' tags, and removes them.
// A volume that was restored whole loses its tags only. A volume is left alone when its owner lives, when it
// is a base, when another machine's process owns it, or when it carries no owner's tag. Repeating it is
// harmless.
CleanReport clean_leftovers(World& world, const CleanOptions& options);

// Whether nobody will ever remove this volume.
bool is_leftover(const LvRow& row);
// Removes one; false when it is none any more, since somebody has taken its tags off.
bool remove_leftover(World& world, const LvRow& row, std::chrono::milliseconds patience);

// A fact of an intent: the volume with this `lv_uuid` was written to its end, only its tags could not be
// taken off. Then it is no leftover, and clean_leftovers() takes them off.
inline constexpr const char* kWholeFact = "whole";
// Whether a journal says so.
bool is_whole(World& world, const LvRow& row);
// The words of lvchange that make a volume one like any other.
std::vector<std::string> untag_words(const LvRow& row);

}  // namespace respaldo::engine
