#include "engine/volume_copies.h"

#include "base/error.h"

namespace respaldo::engine {

VolumeCopies& volume_copies(VolumeEngine& engine) {
  auto* const copies = dynamic_cast<VolumeCopies*>(&engine);
  if (copies == nullptr)
    throw Error(ErrorKind::unsupported, "volumes move to other groups on the running system only",
                "on disk images: back the volume up, and respaldo restore --create it there");
  return *copies;
}

}  // namespace respaldo::engine
