// What an engine does to volumes besides reading and writing them: making one for a restore, rolling one back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "engine/volume_engine.h"

namespace respaldo::engine {

struct NewVolumeRequest {
  VolumeName name;
  std::uint64_t size = 0;  // bytes; rounded up to extents
  std::string pv;          // the physical volume to take them from; empty: lvm2 chooses
  bool skipped_at_boot = false;  // nothing activates it but who asks for it by name
};

// A volume that was just made. It carries its process's tag, so that it is known as a leftover when that dies, and is
// removed again when this is destroyed, unless it was kept. What was read or written through is closed before either.
class NewVolume {
 public:
  virtual ~NewVolume() = default;
  virtual std::uint64_t size() const = 0;  // bytes
  // From now on it is a volume like any other. Error when that cannot be told to the group, for all patience:
  // the volume stays nevertheless, and the hint names the command that is missing.
  virtual void keep() = 0;
};

// What merging a snapshot would do.
struct MergePlan {
  VolumeName snapshot, origin;
  std::string uuid;  // of the snapshot
  bool thin = false;
  std::optional<std::uint64_t> changed;  // bytes of the origin that would be put back; absent when not told
  std::optional<std::int64_t> made;      // when the snapshot was made, seconds since 1970
  std::vector<std::string> uses;         // of origin and snapshot: "vg0/root is mounted on /"; empty: nobody uses them
  bool begun = false;                    // asked for earlier: it runs, or waits
};

enum class MergeOutcome {
  done,   // the origin is what the snapshot was, and the snapshot has gone
  waits,  // the origin or the snapshot is in use: it happens when the origin is activated the next time
  runs,   // a stop was asked for: it goes on by itself
};

class VolumeChanges {
 public:
  virtual ~VolumeChanges() = default;
  // Whether a process that died had made that volume for itself.
  virtual bool is_half_made(const VolumeName& name) = 0;
  // For whoever is about to write over a volume that is there. Whether a process that died had made it for itself, so
  // that `clean` may remove it, unless it is adopted before its first byte is written. What processes of other machines made counts as such, too. Error(refused) for a
  // copy that a move to another group has set aside, Error(busy) for what a living process of this machine made.
  virtual bool is_abandoned(const VolumeName& name) = 0;
  // From now on it is a volume like any other. REQUIRES is_abandoned(), and that nobody here has it open.
  // Error(refused) when it has another UUID by now.
  virtual void adopt(const VolumeName& name, const std::string& uuid) = 0;
  // Error(no_space) tells what is free; Error(refused) when there is a volume of that name, unless it is one that a
  // process which died had made for itself: that one is removed first.
  virtual std::unique_ptr<NewVolume> make_volume(const NewVolumeRequest& request) = 0;
  // Error(refused) for what is no snapshot, Error(overflow) for one that is dead, Error(busy) for one that a running
  // backup owns.
  virtual MergePlan plan_merge(const VolumeName& snapshot) = 0;
  // Begins it, or goes on with one that was begun, and waits for its end. Error(refused) when the snapshot was made
  // anew. Progress is in bytes put back. A merge may stop anywhere, with the machine too: it is taken up again.
  virtual MergeOutcome merge(const MergePlan& plan, Progress& progress, const std::stop_token& stop) = 0;
};
// The same engine seen as one. Error(unsupported) when it is none.
VolumeChanges& volume_changes(VolumeEngine& engine);

// Whether a volume with these tags was made by a process of this machine that is dead, for itself.
bool is_leftover(const std::vector<std::string>& tags);
// The words of lvchange that take `tags` off a volume ("vg/lv").
std::vector<std::string> untag_words(const std::string& volume, const std::vector<std::string>& tags);
// VolumeChanges::is_abandoned() of a volume with these tags.
bool is_abandoned(const VolumeName& name, const std::vector<std::string>& tags);
// Those of them that say who made it for himself.
std::vector<std::string> tags_of_maker(const std::vector<std::string>& tags);

}  // namespace respaldo::engine
