// The volumes of open images, live: read and written by several users at once, with the kernel's copy on
// write towards their thick snapshots. What `activate` serves.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/image/image_engine.h"

namespace respaldo::engine {

struct LiveVolume {
  VolumeName name;
  std::uint64_t size = 0;
  bool writable = false;
  std::string unwritable;  // why it is not
  bool held_back = false;  // it would be, but for a snapshot that cannot follow
  std::string unreadable;  // why it cannot even be read; empty when it can
  // Nanoseconds since 1970, larger with every write through a Handle; 0 before the first. Of find() alone.
  std::int64_t last_write = 0;
};

// Thread-safe. Every read and write passes a gate, which run_paused() closes: so a change of the metadata (a
// snapshot made, a volume grown) is one instant for all who use the volumes. What cannot be opened harms no other
// volume; but an origin is only written while every one of its snapshots follows.
class LiveVolumes {
 public:
  // `disks` is open exclusively unless read_only.
  LiveVolumes(std::unique_ptr<DiskSet> disks, bool read_only);
  ~LiveVolumes();
  LiveVolumes(const LiveVolumes&) = delete;
  LiveVolumes& operator=(const LiveVolumes&) = delete;

  std::vector<LiveVolume> list() const;  // visible volumes and snapshots, by group and name
  std::optional<LiveVolume> find(const VolumeName& name) const;
  std::optional<CowFigures> cow(const VolumeName& snapshot) const;
  // Snapshots that died since they are served, and were not removed.
  std::vector<VolumeName> died() const;
  std::vector<VolumeInfo> volume_infos() const;

  // An open volume; counts as "in use" while it lives. Each call goes to what the name means now: after
  // lvextend the volume is larger, after its removal every call fails with Error(not_found).
  class Handle {
   public:
    virtual ~Handle() = default;
    virtual std::uint64_t size() const = 0;
    virtual std::size_t read(std::uint64_t offset, MutableBytes out) const = 0;  // short only at the end
    virtual std::vector<block::Run> runs(Extent range) const = 0;                // cut at size()
    // A read-only volume is Error(refused), with the reason; past the end is Error(no_space).
    virtual void write(std::uint64_t offset, ByteView bytes) = 0;
    virtual void zero(Extent range) = 0;
    virtual void flush() = 0;
  };
  // Error(busy) while the volume is claimed.
  std::shared_ptr<Handle> open(const VolumeName& name);
  bool is_open(const VolumeName& name) const;
  // Gives the volume to the one handle that is open: nobody else opens it until that is closed. False, and nothing
  // happens, when there are several, or none.
  bool claim(const VolumeName& name);

  // Waits for running reads and writes, holds new ones back, runs `change` on the disks, then maps the
  // volumes anew. What `change` throws is rethrown after the volumes were mapped anew. It goes before readers and
  // writers that come later.
  void run_paused(const std::function<void(DiskSet&)>& change);
  void flush();

 private:
  struct Impl;
  class OpenVolume;
  std::shared_ptr<Impl> impl_;
};

}  // namespace respaldo::engine
