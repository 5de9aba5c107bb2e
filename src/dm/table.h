// Device-mapper tables as a language: what `dmsetup table` prints, as values.
//
// A table maps a device's sectors onto other devices, named by text (dm names such as "vg-lv-real", or any
// name that a Resolver understands). lvm/ writes tables from metadata; assemble() makes readable devices of
// them in userspace; the kernel engine compares them with the kernel's own. Offsets here are in sectors.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "block/device.h"

namespace respaldo::dm {

struct DeviceRef {
  std::string name;
  std::uint64_t start = 0;  // sectors
  friend bool operator==(const DeviceRef&, const DeviceRef&) = default;
};

struct LinearTarget {
  DeviceRef device;
  friend bool operator==(const LinearTarget&, const LinearTarget&) = default;
};
struct StripedTarget {
  std::uint64_t chunk = 0;  // sectors
  std::vector<DeviceRef> legs;
  friend bool operator==(const StripedTarget&, const StripedTarget&) = default;
};
struct ErrorTarget {
  friend bool operator==(const ErrorTarget&, const ErrorTarget&) = default;
};
struct ZeroTarget {
  friend bool operator==(const ZeroTarget&, const ZeroTarget&) = default;
};
struct MirrorTarget {
  std::uint64_t region = 0;         // sectors
  std::vector<DeviceRef> legs;      // leg 0 is the primary
  bool secondaries_in_sync = true;  // false: only leg 0 is known to hold everything (a pvmove under way)
  friend bool operator==(const MirrorTarget&, const MirrorTarget&) = default;
};
enum class RaidLevel { raid0, raid1, raid4, raid5_ls, raid5_n, raid6_zr, raid10 };
struct RaidLeg {
  std::optional<std::string> metadata;  // the rmeta device
  std::string data;                     // the rimage device
  bool out_of_sync = false;             // must not be read (REBUILD, NOTSYNCED, or known failed)
  friend bool operator==(const RaidLeg&, const RaidLeg&) = default;
};
struct RaidTarget {
  RaidLevel level = RaidLevel::raid1;
  std::uint64_t chunk = 0;   // sectors; 0 for raid1
  std::uint64_t region = 0;  // sectors
  std::uint32_t copies = 2;  // raid10
  std::vector<RaidLeg> legs;
  friend bool operator==(const RaidTarget&, const RaidTarget&) = default;
};
struct SnapshotOriginTarget {
  std::string origin;  // the "-real" device
  friend bool operator==(const SnapshotOriginTarget&, const SnapshotOriginTarget&) = default;
};
struct SnapshotTarget {
  std::string origin;       // the "-real" device
  std::string cow;          // the "-cow" device
  std::uint64_t chunk = 0;  // sectors; the store's own header wins
  friend bool operator==(const SnapshotTarget&, const SnapshotTarget&) = default;
};
struct SnapshotMergeTarget {
  std::string origin;
  std::string cow;
  std::uint64_t chunk = 0;
  friend bool operator==(const SnapshotMergeTarget&, const SnapshotMergeTarget&) = default;
};
struct ThinPoolTarget {
  std::string metadata;                         // the _tmeta device
  std::string data;                             // the _tdata device
  std::uint64_t chunk = 0;                      // sectors
  std::optional<std::uint64_t> transaction_id;  // what the LVM text says; checked against the superblock
  friend bool operator==(const ThinPoolTarget&, const ThinPoolTarget&) = default;
};
struct ThinTarget {
  std::string pool;  // name of a device whose table is one ThinPoolTarget
  std::uint32_t device_id = 0;
  std::optional<std::string> external_origin;
  friend bool operator==(const ThinTarget&, const ThinTarget&) = default;
};
// Known by name, not readable by us: cache, vdo, writecache, raid5_la, a type from the future.
struct UnsupportedTarget {
  std::string type;
  std::string why;
  friend bool operator==(const UnsupportedTarget&, const UnsupportedTarget&) = default;
};

using Target = std::variant<LinearTarget, StripedTarget, ErrorTarget, ZeroTarget, MirrorTarget, RaidTarget,
                            SnapshotOriginTarget, SnapshotTarget, SnapshotMergeTarget, ThinPoolTarget,
                            ThinTarget, UnsupportedTarget>;

struct TableLine {
  std::uint64_t start = 0, length = 0;  // sectors
  Target target;
  friend bool operator==(const TableLine&, const TableLine&) = default;
};
// Lines tile [0, size) in order.
using Table = std::vector<TableLine>;

// As `dmsetup table` prints it (without its space after a lone "error" or "zero"), one line each. Names stand
// for major:minor.
std::string to_text(const Table& table);

// Where assemble() finds what a table names. Implementations cache, so that devices named twice are one.
class Resolver {
 public:
  virtual ~Resolver() = default;
  // A device by name. A missing PV resolves to a device whose reads fail with Error(missing) naming it;
  // a name that nobody knows is Error(corrupt).
  virtual block::DevicePtr device(const std::string& name) = 0;
  // The table of a name, where it has one (thin pools are looked through).
  virtual const Table* table(const std::string& name) = 0;
};

// A readable device made of a table. Errors in the table or in metadata that it points at (bad store
// magic, dead snapshot, pool that needs repair, unsupported type) are thrown here, not at read time:
// overflow for a dead snapshot, unsupported for unknown types, corrupt for the rest. RAID and mirror
// targets read around legs whose reads fail, where redundancy allows.
block::DevicePtr assemble(const Table& table, Resolver& resolver, std::string name);

// Writable form of linear, striped and zero-length-independent tables: every line linear or striped.
// Anything else is Error(unsupported). resolve_writable gives the devices.
block::WritableDevicePtr assemble_writable(
    const Table& table, const std::function<block::WritableDevicePtr(const std::string&)>& resolve_writable,
    std::string name);

}  // namespace respaldo::dm
