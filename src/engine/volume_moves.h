// Volumes go from one physical volume of their group to another while they are used.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/volume_engine.h"

namespace respaldo::engine {

// Where a volume lies, and what moving it would do.
struct MovePlan {
  VolumeName volume;
  std::string to;                 // the physical volume, by lvm2's name; empty when it was not asked for
  std::vector<std::string> from;  // those that hold something of it now, without `to`
  std::uint64_t bytes = 0;        // that are not on `to` yet; of a move that was begun: all of that
  bool begun = false;             // lvm2's metadata tells of a move of this volume that is not over
  bool nothing_to_do() const { return !begun && from.empty(); }
};

enum class MoveOutcome {
  moved,
  taken_back,  // a stop was asked for: what this call began is undone; of several sources, those that were
               // done stay done
  goes_on,     // a stop was asked for, and the move was begun by somebody else: it goes on by itself
};

class VolumeMoves {
 public:
  virtual ~VolumeMoves() = default;
  // Changes nothing. `to` is a physical volume of the group. Error(unsupported) for volumes that are no plain
  // linear ones and for a target outside the group, Error(busy) while another volume of the group is moved,
  // Error(no_space).
  virtual MovePlan plan_move(const VolumeName& volume, const std::string& to) = 0;
  // Returns when lvm2 has recorded that the volume lies on plan.to alone. Progress is in bytes. When it
  // fails, what it began is taken back as far as lvm2 can; the volume is whole at any moment, and after a
  // power cut, too.
  virtual MoveOutcome move(const MovePlan& plan, Progress& progress, const std::stop_token& stop) = 0;
  // Takes a move back that was begun and is not over. Error(refused) when there is none.
  virtual MovePlan abort_move(const VolumeName& volume) = 0;
};
// The same engine seen as one. Error(unsupported) when it is none.
VolumeMoves& volume_moves(VolumeEngine& engine);

}  // namespace respaldo::engine
