// engine/volume_moves.h by lvm2's pvmove.
#pragma once

#include "engine/kernel/world.h"
#include "engine/volume_moves.h"

namespace respaldo::engine {

MovePlan plan_live_move(World& world, const LvRow& volume, const std::string& to);
MoveOutcome move_live_volume(World& world, const LvRow& volume, const MovePlan& plan, Progress& progress,
                             const std::stop_token& stop);
MovePlan abort_live_move(World& world, const LvRow& volume);

}  // namespace respaldo::engine
