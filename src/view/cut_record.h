// How the image of a backup was cut, as far as its list of blobs does not tell it: what the next backup needs
// in order to reuse blobs of this one and still be cut as a full backup would be.
// docs/formats/backup-tree.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/extent.h"
#include "repo/repository.h"
#include "view/volume_view.h"

namespace respaldo::view {

inline constexpr std::string_view kCutsName = "cuts.json";

// Kept beside an image whose snapshot became a base. A value.
struct CutRecord {
  static constexpr std::uint64_t kMostEntries = 1U << 20;  // of each list

  std::string cutter;  // tells the rules and the key of the content cuts
  // The lists are complete up to this byte of the volume; nothing behind it may be reused.
  std::uint64_t complete_to = 0;
  // Free space was stored as zeros without being read: then zeros are the disk's only where `zeros` says so.
  bool free_dropped = false;
  ExtentSet zeros;              // blobs of zeros that were read; empty unless free_dropped
  std::vector<Extent> content;  // spans cut by content, ascending; ones that touch are still apart

  std::string to_json() const;  // stable, ends with a newline
  // Error(corrupt) for anything that to_json does not write.
  static CutRecord parse(std::string_view json);
};

// The record beside a volume's image. Absent when the backup kept no base, or the record is damaged.
std::optional<CutRecord> load_cut_record(const repo::IndexedRepository& repository,
                                         const repo::Snapshot& snapshot, const StoredVolume& volume);

}  // namespace respaldo::view
