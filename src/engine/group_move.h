// A volume goes to another group: a copy is made while it is used, brought up to date, compared, and takes its
// place. The old volume stays, out of use.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "base/progress.h"
#include "engine/volume_copies.h"
#include "engine/volume_engine.h"

namespace respaldo::engine {

struct GroupMoveOptions {
  VolumeName from, to;
  AcquireOptions how;    // of the snapshots that are copied
  unsigned threads = 0;
};

struct GroupMoveResult {
  bool moved = false;      // false: `from` is in use; `to` is a copy of it, up to date a moment ago
  std::string in_use;      // then: by whom, as a sentence
  std::uint64_t size = 0;  // bytes
  std::uint64_t copied = 0, caught_up = 0, compared = 0;  // bytes of the first copy, of what changed, of the comparison
};

// Goes on with what an earlier call began, whenever that ended: nothing but the groups' metadata is asked.
//
// Errors: unsupported by this engine; busy when another process moves the volume, or somebody wrote to it who does
// not mount it; refused when there is another volume `to`, or `from` was moved already; no_space, busy, overflow and
// others as VolumeEngine::acquire; io when the copy cannot be made equal. The source is never written. A first
// copy that does not come to its end is removed, a later step leaves the copy as it was or newer.
GroupMoveResult move_to_group(VolumeEngine& engine, const GroupMoveOptions& options, Progress& progress,
                              const std::stop_token& stop);

enum class TakenBack { nothing, base, copy };
// Removes the copies that were begun, and their bases; the source is in use as it was. Says what there was: a copy
// (with or without a base), or a base that had lost its copy.
TakenBack abort_group_move(VolumeEngine& engine, const VolumeName& from);

}  // namespace respaldo::engine
