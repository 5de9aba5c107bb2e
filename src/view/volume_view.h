// A stored backup seen again as volumes: the image view as a Device, the trees as folders.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "block/device.h"
#include "repo/repository.h"

namespace respaldo::view {

// Cuts and names shared by who writes and who reads a backup's tree (DESIGN "What a backup holds").
inline constexpr std::uint64_t kImagePartSize = std::uint64_t{64} << 30;
inline constexpr std::string_view kImageName = "image.raw", kImageFolder = "image", kFilesName = "files",
                                  kFactsName = "volume.json", kGroupConfigName = "vg.conf";
std::string part_name(std::size_t number);  // of the files in kImageFolder: "image.00000"
// Where the list of blobs is too long for one tree, each part lies in a folder of its own instead, which is named by the
// byte of the volume that it begins with: image/0000000068719476736/image.raw.
std::string part_folder_name(std::uint64_t first_byte);
std::optional<std::uint64_t> parse_part_folder_name(std::string_view name);

// Ranges of the volume that are not in the backup, and are zeros in it: they could not be read when it was made, or a
// repair of the repository gave them up.
struct LostRange {
  Extent extent;
  std::string why;
};
std::string describe(const std::vector<LostRange>& lost);  // "8.00 KiB in 2 ranges are lost, ..."

// A filesystem whose files are in the backup.
struct FileViewFacts {
  std::string folder;  // below /VG/LV: "files", "part1/files"
  std::string how;     // "walked" (by us) or "mounted" (read through the kernel); empty in old backups: walked
  std::string filesystem, uuid, label;
  std::string journal;  // "replayed": the files are as after recovery; "skipped": as on the disk; else empty
  std::vector<std::string> notes;  // worth telling; nothing is wrong
  struct Finding {
    std::string path, what;  // path: may be empty
  };
  std::vector<Finding> findings;  // what could not be trusted; the first ones
  std::uint64_t finding_count = 0;
  std::uint64_t encrypted_folders = 0;
  // The newest ctime of its inodes that is not after the backup's start, seconds since 1970: until then the filesystem
  // surely lived. Absent in old backups, and where it is not known.
  std::optional<std::uint64_t> newest_ctime;
};

// The facts of volume.json. Unknown fields are ignored when reading; a backup made by restic has none.
struct VolumeFacts {
  std::string vg, lv, vg_uuid, lv_uuid;
  std::uint64_t size = 0;
  std::string segment_type, engine, how;  // how: "direct", "snapshot", "given"
  std::string filesystem, filesystem_uuid, filesystem_label;
  std::optional<std::uint64_t> cow_size, cow_used, cow_chunk;
  // Thin: of its pool when all was read, bytes.
  std::optional<std::uint64_t> pool_size, pool_used, pool_metadata_size, pool_metadata_used;
  std::string snapshot_name;
  std::vector<LostRange> lost;
  std::vector<FileViewFacts> file_views;
  std::uint64_t free_bytes = 0;  // that the filesystem calls free, stored as zeros whatever they hold
  std::string to_json() const;   // stable field order, ends with a newline
  static VolumeFacts parse(std::string_view json);  // Error(corrupt)
};

// One blob of the image: plain offset in the volume.
struct ImageChunk {
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  repo::BlobId id;
};

// A volume found in a backup.
struct StoredVolume {
  std::string vg, lv;
  std::string tree_path;         // "/vg0/root"
  std::uint64_t image_size = 0;  // sum of the parts
  bool has_image = false, has_files = false;
  std::vector<std::vector<repo::BlobId>> parts;  // content lists of image.raw, or of the parts in image/
  std::optional<VolumeFacts> facts;  // absent, too, when volume.json is damaged: the image may still be whole
  std::string str() const { return vg + "/" + lv; }
};

// The volumes of a backup, in tree order. Backups of restic (no /VG/LV/image.raw) give an empty list.
// Error(corrupt) for trees that cannot be read, or an image with missing parts.
std::vector<StoredVolume> stored_volumes(const repo::IndexedRepository& repository,
                                         const repo::Snapshot& snapshot);
// The one that the user names (VG/LV, /dev/VG/LV, /dev/mapper/VG-LV); without a name, the only one.
// Error(usage) listing them otherwise, Error(not_found) when there is none at all.
StoredVolume select_volume(std::vector<StoredVolume> volumes, std::optional<std::string_view> name);

// The parts of an image in order: the files in the tree of an image's folder, or in folders of it. None when it holds
// something else; Error(corrupt) when one is missing.
std::vector<repo::Node> image_parts(const repo::IndexedRepository& repository, repo::Tree folder);

// Offsets and lengths of all image chunks (lengths from the index). Error(corrupt) when the sum is not
// image_size.
std::vector<ImageChunk> image_chunks(const repo::IndexedRepository& repository, const StoredVolume& volume);

// The image view as a disk: reads blobs on demand, with a cache. runs() tells known zero chunks. Thread-safe.
block::DevicePtr open_image(std::shared_ptr<const repo::IndexedRepository> repository,
                            const StoredVolume& volume);

// A path inside a backup: "/" separated raw names ("" and "/" are the root: a dir without a name). Absent
// when it does not exist.
std::optional<repo::Node> find_node(const repo::IndexedRepository& repository, const repo::Snapshot& snapshot,
                                    std::string_view path);

}  // namespace respaldo::view
