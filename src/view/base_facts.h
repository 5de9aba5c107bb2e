// What volume.json tells of bases, beside VolumeFacts. docs/formats/backup-tree.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "repo/repository.h"

namespace respaldo::view {

// A base: the snapshot that a backup was read from, kept so that the next one knows what changed.
struct BaseFacts {
  std::string token, source;  // source: "thick" or "thin"
  std::string snapshot_uuid, origin_uuid, vg_uuid;
  std::string layout;                 // tells where the origin's extents lie: it must not have been cut short
  std::string binding_uuid;           // thick: of the hidden volume that ties it to the origin; a new one at each attachment
  std::uint64_t size = 0, chunk = 0;  // bytes
  std::string pool_uuid;              // thin
  std::optional<std::uint64_t> thin_id;  // thin
  friend bool operator==(const BaseFacts&, const BaseFacts&) = default;
};

// What an earlier backup spared this one.
struct ReuseFacts {
  std::string source;  // "thick", "thin": by a base; "quick": inode data was trusted
  std::string token;   // of the base
  std::string backup;  // id of the earlier backup, hex
  std::uint64_t changed_bytes = 0, reused_bytes = 0;
};

struct BaseRecord {
  std::optional<BaseFacts> kept;   // by this backup
  std::optional<ReuseFacts> used;  // absent: everything was read
  std::string refused;             // why a base that was there could not be used

  // `volume_json` with these fields at its end.
  std::string add_to(std::string_view volume_json) const;
  // Out of a volume.json. Error(corrupt) for fields of a wrong type.
  static BaseRecord parse(std::string_view volume_json);
};

// Of a volume in a backup, by its path in the tree ("/vg0/root"). Absent when there is no sound volume.json.
std::optional<BaseRecord> load_base_record(const repo::IndexedRepository& repository,
                                           const repo::Snapshot& snapshot, const std::string& tree_path);

}  // namespace respaldo::view
