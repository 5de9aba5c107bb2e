// engine/volume_copies.h by tags of lvm2.
#pragma once

#include <memory>
#include <optional>

#include "engine/kernel/world.h"
#include "engine/volume_copies.h"

namespace respaldo::engine {

std::shared_ptr<void> lock_live_move(const World& world, const std::string& source_uuid);
std::vector<CopyInfo> live_copies_of(const std::vector<LvRow>& rows, const std::string& source_uuid);
void mark_live_copy(World& world, const LvRow& copy, const std::string& source_uuid,
                    const std::string& base_token);
void activate_live_copy(World& world, const LvRow& copy, bool active);
void remove_live_copy(World& world, const LvRow& copy, const std::string& source_uuid);

// `fd`: of its device, open with O_EXCL.
std::unique_ptr<HeldVolume> hold_live_volume(os::UniqueFd fd);
void retire_live_volume(World& world, const LvRow& source, std::unique_ptr<HeldVolume> held,
                        const std::string& copy_uuid);
std::optional<VolumeCopies::Retired> retired_as(const LvRow& source, const std::vector<LvRow>& rows);
void reinstate_live_volume(World& world, const LvRow& source);
void take_over_live(World& world, const LvRow& copy);

// A copy, one that is being made, or what was retired: nothing that a backup without names would want.
bool is_set_aside(const LvRow& row);

}  // namespace respaldo::engine
