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
#include "engine/amount.h"

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
  std::uint64_t maximum = 0;  // a store of this size can never overflow; 0: not known
};

// Figures of the pool below a thin volume, bytes.
struct PoolFigures {
  std::string name;  // "VG/LV"
  std::uint64_t data_size = 0, data_used = 0, metadata_size = 0, metadata_used = 0;
  bool writable = true;  // false: out of space, read-only, or failed
  std::uint64_t chunk = 0;  // what a first write takes at once
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
  bool set_aside = false;        // a copy that is not in use yet, or what a move to another group left
};

struct AcquireOptions {
  std::optional<std::uint64_t> cow_size;  // bytes; absent: the engine decides
  std::string run_tag;                    // marks what we make, so that strays are recognised
  std::optional<Amount> cow_share;        // instead of cow_size: "20%ORIGIN", "100%FREE"
  std::optional<std::uint64_t> cow_expected;  // the most that earlier runs used, bytes
  std::optional<Amount> keep_free;      // of the group, never taken by a store the engine sizes; absent: a small part
  std::optional<Amount> min_pool_free;  // a thin pool with less is not touched: Error(no_space); absent: 5 %
};

// What a lease on somebody's snapshot is for. It is written to where it is mounted, which only readers mind.
enum class SnapshotUse { reading, watching };

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
  // The block device, where there is one ("/dev/mapper/vg0-respaldo_..."): to be mounted, for example. Empty else.
  virtual std::string device_path() const { return {}; }
  virtual std::optional<PoolFigures> pool() const { return std::nullopt; }  // thin volumes
  // Makes the COW store larger by `bytes`, rounded up to extents, or as far as it may: never beyond what can be used,
  // never into what AcquireOptions::keep_free keeps. When nothing is added, `why` says why.
  struct Growth {
    std::uint64_t added = 0;
    std::string why;
  };
  // Cancelled when `stop` came before anything was begun. Runs beside the const functions, not beside itself.
  virtual Growth grow(std::uint64_t bytes, const std::stop_token& stop = {});
  // Throws Error(overflow) when the snapshot died, and Error(busy) when somebody wrote to what is read and was not made
  // for this lease. Called during and after the last read.
  virtual void require_valid() const = 0;
  virtual void release() = 0;  // throws when the snapshot cannot be removed
};

struct CleanOptions {
  bool dry_run = false;  // only tells
  bool named = true;     // also volumes that users gave their names, such as those of restores that died
};

// What clean() did, or would do.
struct CleanReport {
  struct Item {
    std::string what;  // "snapshot vg0/respaldo_0123456789abcdef of vg0/root"
    std::string problem;  // why it is still there; empty when it is gone
  };
  std::vector<Item> items;
  std::vector<std::string> left;  // as `what`: removed with CleanOptions::named alone
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
  // A lease on an existing snapshot, never removed by us. For reading Error(busy) when it is mounted writable.
  virtual std::unique_ptr<SnapshotLease> acquire_snapshot(const VolumeName& snapshot,
                                                          SnapshotUse use = SnapshotUse::reading) = 0;

  // Removes what runs that died left behind; never what a living run owns, a base, or anything made by hand.
  virtual CleanReport clean(const CleanOptions& options);

  // Snapshots by hand. Error(unsupported) where the engine has none.
  // `name` empty: one is made up. Gives the snapshot's name.
  virtual VolumeName create_snapshot(const VolumeName& origin, const std::string& name, const AcquireOptions& options);
  // Error(refused) for what is no snapshot, or has another UUID by now.
  virtual void remove_snapshot(const VolumeName& snapshot, const std::string& uuid);
  // Gives its COW store more room, as SnapshotLease::grow.
  virtual SnapshotLease::Growth extend_snapshot(const VolumeName& snapshot, std::uint64_t bytes);
};

// Error(refused) when a volume is another one than that of which somebody spoke.
void require_same(const VolumeName& name, const std::string& uuid_spoken_of, const std::string& uuid);

}  // namespace respaldo::engine
