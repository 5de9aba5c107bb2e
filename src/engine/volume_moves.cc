#include "engine/volume_moves.h"

#include "base/error.h"

namespace respaldo::engine {

VolumeMoves& volume_moves(VolumeEngine& engine) {
  auto* const moves = dynamic_cast<VolumeMoves*>(&engine);
  if (moves == nullptr)
    throw Error(ErrorKind::unsupported, "volumes are moved on the running system only",
                "on disk images: respaldo --disk IMG lvm pvmove -n LV FROM TO");
  return *moves;
}

}  // namespace respaldo::engine
