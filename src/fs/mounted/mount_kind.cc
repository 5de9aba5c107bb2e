#include "fs/mounted/mount_kind.h"

namespace respaldo::fs {

namespace {

// Access rights that FAT has no place for; Linux' own defaults for root.
const MountKind::Parameters kOwnedByRoot = {{"uid", "0"}, {"gid", "0"}, {"fmask", "0022"}, {"dmask", "0022"}};

MountKind::Parameters with(MountKind::Parameters more) {
  more.insert(more.end(), kOwnedByRoot.begin(), kOwnedByRoot.end());
  return more;
}

}  // namespace

MountKind mount_kind(std::string_view probe_type) {
  if (probe_type == "xfs")  // nouuid: its origin may be mounted
    return {.type = "xfs",
            .parameters = {{"nouuid", ""}},
            .without_recovery = {{"norecovery", ""}},
            .places = Places::fiemap,
            .tells_free = true};
  if (probe_type == "btrfs")  // the top level: all subvolumes lie below it
    return {.type = "btrfs",
            .parameters = {{"subvolid", "5"}},
            .without_recovery = {{"rescue", "nologreplay"}},
            .has_subvolumes = true};
  if (probe_type == "vfat")  // names in UTF-8, times as they are stored
    return {.type = "vfat",
            .parameters = with({{"utf8", "1"}, {"shortname", "mixed"}, {"tz", "UTC"}}),
            .places = Places::fibmap,
            .steady_inodes = false,
            .may_exceed = false};
  if (probe_type == "exfat")
    return {.type = "exfat", .parameters = with({{"iocharset", "utf8"}}), .steady_inodes = false};
  if (probe_type == "ntfs") return {.type = "ntfs3", .parameters = with({{"iocharset", "utf8"}})};
  if (probe_type == "f2fs") return {.type = "f2fs", .without_recovery = {{"norecovery", ""}}};
  if (probe_type == "nilfs2") return {.type = "nilfs2", .without_recovery = {{"norecovery", ""}}};
  return {.type = std::string(probe_type)};
}

}  // namespace respaldo::fs
