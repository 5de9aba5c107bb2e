// Reading a volume without a snapshot.
#pragma once

#include <memory>

#include "engine/volume_engine.h"

namespace respaldo::engine {

// What an engine can do besides, where volumes may be nobody's but ours.
class QuietReads {
 public:
  virtual ~QuietReads() = default;
  // The volume as it lies; nothing is made for it. What other programs write meanwhile is noticed: require_valid().
  // Error(busy) where that is to be expected. Null while an activation serves it.
  virtual std::unique_ptr<SnapshotLease> hold_as_it_lies(const VolumeName& name) = 0;
};
// The same engine seen as one; null when it is none.
inline QuietReads* quiet_reads(VolumeEngine& engine) { return dynamic_cast<QuietReads*>(&engine); }

}  // namespace respaldo::engine
