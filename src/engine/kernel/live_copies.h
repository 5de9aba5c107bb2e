// engine/volume_copies.h by tags of lvm2.
#pragma once

#include "engine/kernel/world.h"
#include "engine/volume_copies.h"

namespace respaldo::engine {

std::vector<CopyInfo> live_copies_of(const std::vector<LvRow>& rows, const std::string& source_uuid);
void mark_live_copy(World& world, const LvRow& copy, const std::string& source_uuid,
                    const std::string& base_token);
void activate_live_copy(World& world, const LvRow& copy, bool active);
void remove_live_copy(World& world, const LvRow& copy, const std::string& source_uuid);
void retire_live_volume(World& world, const LvRow& source);
bool is_retired(const LvRow& source);
bool is_set_aside(const LvRow& row);  // a copy, or retired
void take_over_live(World& world, const LvRow& copy);

}  // namespace respaldo::engine
