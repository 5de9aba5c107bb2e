// Copies of volumes that will take their places. Everything about them is in the group's metadata, as tags.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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

// A volume that nobody else can mount, nor open for himself alone. Given up when destroyed.
class HeldVolume {
 public:
  virtual ~HeldVolume() = default;
  // False: somebody wrote to it since it is held. Those who open it without asking for it alone can.
  virtual bool untouched() const = 0;
};

class VolumeCopies {
 public:
  virtual ~VolumeCopies() = default;
  virtual bool has_group(const std::string& vg) = 0;
  // Of this machine's moves of that volume one goes on at a time: Error(busy). Until what is returned goes.
  virtual std::shared_ptr<void> lock_move(const std::string& source_uuid) = 0;

  // Of the volume with that UUID.
  virtual std::vector<CopyInfo> copies_of(const std::string& source_uuid) = 0;
  // In one change of the group the volume becomes a copy of that one, or of a newer state of it. It is nobody's
  // leftover from now on, and not activated at boot, since two filesystems with one UUID would be found.
  virtual void mark_copy(const VolumeName& copy, const std::string& source_uuid, const std::string& base_token) = 0;
  virtual void set_active(const VolumeName& copy, bool active) = 0;
  // Error(refused) when it is no copy of that volume.
  virtual void remove_copy(const VolumeName& copy, const std::string& source_uuid) = 0;

  // Error(busy), with who uses it, when somebody does.
  virtual std::unique_ptr<HeldVolume> hold(const VolumeName& source) = 0;
  // The source is taken out of use, now and at boot, and keeps its content. Error(busy) when it is in use, or was
  // written to since it is held. After an error it is as it was.
  virtual void retire(const VolumeName& source, std::unique_ptr<HeldVolume> held, const std::string& copy_uuid) = 0;
  // As what it is retired; absent when it is not, or was activated since.
  struct Retired {
    std::string copy_uuid;
    std::string copy;  // "VG/LV" as it is called now; empty when it is not there
  };
  virtual std::optional<Retired> retired(const VolumeName& source) = 0;
  // Back into use.
  virtual void reinstate(const VolumeName& source) = 0;
  // The copy becomes a volume like any other, and active.
  virtual void take_over(const VolumeName& copy) = 0;
};
// The same engine seen as one; null when it is none.
inline VolumeCopies* volume_copies(VolumeEngine& engine) { return dynamic_cast<VolumeCopies*>(&engine); }

}  // namespace respaldo::engine
