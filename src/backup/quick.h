// --quick: files whose inodes look as they did are not read again.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "backup/file_view.h"
#include "backup/reuse.h"
#include "repo/repository.h"

namespace respaldo::backup {

// The volume's image in an earlier backup, where every byte counts as changed but the data of files that have
// the same path, inode number, size, mtime and ctime as then, and lie where they lay: their blobs in the old
// file view are those of their places in the old image. Files changed within two minutes before the last sign of life
// that the old backup saw of their filesystem are not trusted: their times may not tell of a later change, or of data
// that was not on the disk yet. This trusts the filesystem and its clock; it proves nothing.
struct QuickTrust {
  std::optional<ParentImage> parent;  // absent: everything is read
  std::string refused;  // why times tell nothing; empty when the old backup lacks this volume in this size with a file view
};
// `plan`: of the new backup. Error(io, corrupt) out of the repository.
QuickTrust trust_inodes(const repo::IndexedRepository& repository, const repo::NamedSnapshot& backup,
                        const std::string& tree_path, const std::string& lv_uuid, const FileViews& files,
                        const CutPlan& plan, const std::stop_token& stop);

// FileViewFacts::newest_ctime, of a backup that began at that time.
std::optional<std::uint64_t> newest_ctime(const fs::FileReader& reader, const repo::Timestamp& backup_began);

}  // namespace respaldo::backup
