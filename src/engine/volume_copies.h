// Copies of volumes that will take their places. Everything about them is in the group's metadata, as tags.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/volume_engine.h"

namespace respaldo::engine {

// A volume that holds what another one held a while ago.
struct CopyInfo {
  VolumeName name;
  std::string uuid;
  std::string base_token;  // of the base that tells what changed since; empty: none does
};

class VolumeCopies {
 public:
  virtual ~VolumeCopies() = default;
  virtual bool has_group(const std::string& vg) = 0;
  // Of the volume with that UUID.
  virtual std::vector<CopyInfo> copies_of(const std::string& source_uuid) = 0;
  // In one change of the group the volume becomes a copy of that one, or of a newer state of it; and it is not
  // activated at boot, since two filesystems with one UUID would be found.
  virtual void mark_copy(const VolumeName& copy, const std::string& source_uuid, const std::string& base_token) = 0;
  virtual void set_active(const VolumeName& copy, bool active) = 0;
  // Error(refused) when it is no copy of that volume.
  virtual void remove_copy(const VolumeName& copy, const std::string& source_uuid) = 0;

  // The source is taken out of use, now and at boot, and keeps its content. Error(busy) when it is in use:
  // then nothing is changed.
  virtual void retire(const VolumeName& source) = 0;
  virtual bool is_retired(const VolumeName& source) = 0;
  // The copy becomes a volume like any other, and active.
  virtual void take_over(const VolumeName& copy) = 0;
};
// The same engine seen as one. Error(unsupported) when it is none.
VolumeCopies& volume_copies(VolumeEngine& engine);

}  // namespace respaldo::engine
