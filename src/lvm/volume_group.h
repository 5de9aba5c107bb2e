// The volume group as lvm2's text describes it: a typed model over the lossless tree.
//
// parse() reads and checks; text() prints. Whatever parse() does not understand (unknown keys, flags,
// segment types) is kept and printed again. Extents are counted in extents, sizes in bytes, unless a name
// says sectors. Values; not thread-safe while changed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/extent.h"
#include "dm/table.h"
#include "lvm/config_tree.h"

namespace respaldo::lvm {

// 32 characters of lvm2's alphabet, without dashes; text form is 6-4-4-4-4-4-6.
class Uuid {
 public:
  Uuid() = default;
  static std::optional<Uuid> parse(std::string_view text);  // with or without dashes
  static Uuid random();
  std::string dashed() const;
  const std::string& plain() const { return text_; }
  bool empty() const { return text_.empty(); }
  friend auto operator<=>(const Uuid&, const Uuid&) = default;

 private:
  std::string text_;
};

struct PhysicalVolume {
  std::string key;  // "pv0"
  Uuid id;
  std::string device_hint;
  std::vector<std::string> status, flags, tags;
  std::uint64_t dev_size_sectors = 0, pe_start_sectors = 0, pe_count = 0;
  std::optional<std::uint64_t> ba_start_sectors, ba_size_sectors;
  ConfigSection extra;  // keys not listed above, in order

  bool allocatable() const;
  bool missing_flag() const;
};

// A leg: extents of a PV or of another LV.
struct SegmentArea {
  std::string name;  // PV key ("pv0") or LV name
  std::uint64_t extent = 0;
  friend bool operator==(const SegmentArea&, const SegmentArea&) = default;
};
struct StripedSegment {
  std::uint64_t stripe_sectors = 0;  // 0 when there is one leg
  std::vector<SegmentArea> areas;
};
struct MirrorSegment {
  std::vector<SegmentArea> areas;
  std::optional<std::string> log;
  std::uint64_t region_sectors = 0;
  std::optional<std::uint64_t> extents_moved;  // pvmove
};
struct RaidSegment {
  std::string level;  // the text's type: "raid1", "raid5", "raid5_ls", "raid0_meta", ...
  std::uint64_t stripe_sectors = 0, region_sectors = 0;
  std::uint32_t data_copies = 0;
  std::vector<std::string> metadata, images;  // LV names; metadata empty for raid0
};
struct SnapshotSegment {
  std::string origin, cow;
  bool merging = false;
  std::uint64_t chunk_sectors = 0;
};
struct ThinPoolSegment {
  std::string metadata, data;
  std::uint64_t chunk_sectors = 0, transaction_id = 0;
  bool messages_pending = false;
};
struct ThinSegment {
  std::string pool;
  std::uint32_t device_id = 0;
  std::uint64_t transaction_id = 0;
  std::optional<std::string> origin, external_origin;
};
struct ErrorSegment {};
struct ZeroSegment {};
struct UnknownSegment {};  // type and contents only in Segment::type and ::extra

struct Segment {
  std::uint64_t start = 0, count = 0;  // logical extents
  std::string type;                    // as written, with any "+FLAG" suffixes
  std::vector<std::string> tags;
  std::variant<StripedSegment, MirrorSegment, RaidSegment, SnapshotSegment, ThinPoolSegment, ThinSegment,
               ErrorSegment, ZeroSegment, UnknownSegment>
      body;
  ConfigSection extra;
};

struct LogicalVolume {
  std::string name;
  Uuid id;
  std::vector<std::string> status, flags, tags;
  std::optional<std::int64_t> creation_time;
  std::string creation_host;
  std::optional<std::string> allocation_policy;
  std::vector<Segment> segments;
  ConfigSection extra;

  std::uint64_t extents() const;
  // Of the first segment, as lvm2 calls it: "linear" is "striped" over one in the text. Empty without segments.
  std::string kind() const;
  bool visible() const;   // VISIBLE in status
  bool writable() const;  // WRITE in status or WRITE_LOCKED in flags
  bool has_status(std::string_view s) const;
};

class VolumeGroup {
 public:
  std::string name;
  Uuid id;
  std::uint64_t seqno = 0;
  std::vector<std::string> status, flags, tags;
  std::optional<std::string> system_id, lock_type, allocation_policy;
  std::uint64_t extent_sectors = 8192;
  std::uint64_t max_lv = 0, max_pv = 0, metadata_copies = 0;
  std::vector<PhysicalVolume> pvs;
  std::vector<LogicalVolume> lvs;  // in text order
  ConfigSection extra;             // other keys of the group's section (profile, historical volumes...)
  ConfigSection header;            // contents, version, description, creation_host, creation_time

  // Throws Error(corrupt) with the place: overlaps, extents past the end, segments that do not tile, loops
  // between LVs, names that lvm2 would not accept, absurd sizes. Unknown segment types are accepted.
  static VolumeGroup parse(std::string_view text);
  // `description` and `now` (unix seconds) go into the header. One NUL is NOT included.
  std::string text(TextStyle style, std::string_view description, std::int64_t now) const;

  const LogicalVolume* find_lv(std::string_view name) const;
  LogicalVolume* find_lv(std::string_view name);
  const PhysicalVolume* find_pv(std::string_view key) const;
  const PhysicalVolume* find_pv(const Uuid& id) const;
  std::uint64_t extent_bytes() const { return extent_sectors * 512; }
  std::uint64_t lv_bytes(const LogicalVolume& lv) const { return lv.extents() * extent_bytes(); }

  // Snapshots: the pseudo-LV "snapshotN" that binds a COW LV to its origin.
  struct SnapshotBinding {
    const LogicalVolume* pseudo = nullptr;
    const LogicalVolume* cow = nullptr;  // the LV the user calls the snapshot
    const LogicalVolume* origin = nullptr;
    std::uint64_t virtual_extents = 0, chunk_sectors = 0;
    bool merging = false;
  };
  std::optional<SnapshotBinding> snapshot_binding(const LogicalVolume& cow) const;  // when lv is a COW LV
  std::vector<SnapshotBinding> snapshots_of(const LogicalVolume& origin) const;
  // Extents of each PV that no LV uses, as extents (not bytes): Extent{first extent, count}.
  ExtentSet free_extents(const PhysicalVolume& pv) const;
  std::uint64_t free_extent_count() const;

  // The device-mapper table of an LV as activation would load it. Names in it: PVs by "pv:<plain uuid>",
  // LVs by dm name "VG-LV" with layers "-real", "-cow", "-tpool" as lvm2 uses. layer "" is what the user
  // sees.
  dm::Table table(const LogicalVolume& lv, std::string_view layer = "") const;
};

// "my-vg" + "a-b" -> "my--vg-a--b"; a layer is appended as "-layer".
std::string dm_name(std::string_view vg, std::string_view lv, std::string_view layer = "");
struct DmName {
  std::string vg, lv, layer;
};
std::optional<DmName> parse_dm_name(std::string_view name);

// lvm2's rules; the returned text says what is wrong, absent when the name is fine.
std::optional<std::string> lv_name_problem(std::string_view vg, std::string_view lv);
std::optional<std::string> vg_name_problem(std::string_view vg);

}  // namespace respaldo::lvm
