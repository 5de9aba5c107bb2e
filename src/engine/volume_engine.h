// Volumes and snapshots, whichever world they live in. The image engine and the kernel engine implement this.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "block/device.h"

namespace respaldo::engine {

enum class EngineKind { kernel, image };
std::string_view to_string(EngineKind kind);

// "VG/LV". parse() also takes "/dev/VG/LV" and "/dev/mapper/VG-LV" (hyphens doubled); Error(usage) otherwise.
struct VolumeName {
  std::string vg, lv;
  static VolumeName parse(std::string_view text);
  std::string str() const { return vg + "/" + lv; }
  friend auto operator<=>(const VolumeName&, const VolumeName&) = default;
};

// Figures of a thick snapshot's COW store, bytes.
struct CowFigures {
  std::uint64_t size = 0, chunk = 0, used = 0;
  std::uint32_t percent_x100 = 0;
  bool valid = true;
};

struct VolumeInfo {
  VolumeName name;
  std::string uuid, vg_uuid;
  std::uint64_t size = 0;        // bytes; for a snapshot the size of what it shows
  std::string kind;              // segment type of the first segment: "linear", "striped", "snapshot", "thin", "raid1"...
  std::optional<std::string> origin;  // snapshots
  std::optional<CowFigures> cow;
  std::string unreadable;        // why it cannot be read; empty when it can
  std::vector<std::string> missing_pvs;
  bool in_use = false;           // served by an activation, or open in the kernel
};

struct AcquireOptions {
  std::optional<std::uint64_t> cow_size;  // bytes; absent: the engine decides
  std::string run_tag;                    // marks what we make, so that strays are recognised
};

// A volume held still for the length of a backup. Removes its snapshot, if it made one, when released or
// destroyed (the destructor only as best effort).
class SnapshotLease {
 public:
  virtual ~SnapshotLease() = default;
  virtual const block::Device& device() const = 0;
  // "direct" (nobody writes it), "snapshot" (ours), "given" (--from-snapshot).
  virtual std::string_view how() const = 0;
  virtual std::string snapshot_name() const = 0;  // "VG/LV" of the snapshot, empty when direct
  virtual std::optional<CowFigures> cow() const = 0;  // current figures, where there is a COW store
  // Throws Error(overflow) when the snapshot died. Called during and after the last read.
  virtual void require_valid() const = 0;
  virtual void release() = 0;  // throws when the snapshot cannot be removed
};

class VolumeEngine {
 public:
  virtual ~VolumeEngine() = default;
  virtual EngineKind kind() const = 0;
  virtual std::vector<VolumeInfo> list() = 0;
  // Error(not_found) that lists close names.
  virtual VolumeInfo find(const VolumeName& name) = 0;
  // The group's metadata in the text that vgcfgrestore takes.
  virtual std::string vg_config(const std::string& vg) = 0;
  // Problems worth telling (duplicate PVs, damaged metadata copies, missing PVs).
  virtual std::vector<std::string> warnings() = 0;

  virtual block::DevicePtr open_read(const VolumeName& name) = 0;
  // Refuses (Error(busy)) a volume in use, and (Error(refused)) one that has snapshots unless the engine
  // copies on write.
  virtual block::WritableDevicePtr open_write(const VolumeName& name) = 0;
  // Holds the volume still: its own snapshot when it is in use, the volume itself when nobody can write it.
  virtual std::unique_ptr<SnapshotLease> acquire(const VolumeName& name, const AcquireOptions& options) = 0;
  // A lease on an existing snapshot, never removed by us.
  virtual std::unique_ptr<SnapshotLease> acquire_snapshot(const VolumeName& snapshot) = 0;
};

}  // namespace respaldo::engine
