// Stored files back into a folder: all metadata, holes and hard links, and never a step outside.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "repo/repository.h"

namespace respaldo::restore {

enum class Overwrite {
  always,      // what is there is replaced
  if_changed,  // files of the same size and mtime are left as they are; names of one inode are one again
  never,       // what is there stays
};

struct FileRestoreOptions {
  // What to bring back: paths below the root, "/" separated, raw bytes; empty: everything. The folders above them
  // are made too.
  std::vector<std::string> paths;
  Overwrite overwrite = Overwrite::always;
  unsigned threads = 0;  // 0: one for each core
};

// What could not be brought back, or not wholly.
struct FileProblem {
  std::string path, why;
};

// A target folder that stays as it was: what it has, and what the backup has for it.
struct KeptTop {
  std::uint32_t uid = 0, gid = 0, mode = 0;
  std::uint32_t stored_uid = 0, stored_gid = 0, stored_mode = 0;
};

struct FileRestoreResult {
  std::uint64_t files = 0, folders = 0, others = 0;  // made or brought up to date; others: links, devices, ...
  std::uint64_t kept = 0;                            // left alone in their content, as `overwrite` says
  // Of those, with Overwrite::never: files of another size or mtime than in the backup, files and folders of another owner
  // or mode, things of another kind, names that are not of the inode that they were of. With if_changed: files whose owner
  // and mode could not be set without giving rights away, or through other names. A restore that was killed leaves such folders.
  std::uint64_t kept_different = 0;
  std::vector<std::string> kept_different_named;     // the first kMostKeptNamed
  std::uint64_t bytes_written = 0, bytes_zero = 0;   // content; zero: left as holes
  std::vector<FileProblem> problems;                 // at most kMostProblems are kept
  std::uint64_t problem_count = 0;
  // Where the target's room ended, one of `problems`: what comes after it was not tried.
  std::optional<FileProblem> no_space;
  // Metadata that an ordinary user may not set: how many entries lack it. Not problems.
  std::uint64_t without_owner = 0, without_xattrs = 0, without_device = 0;
  // Everything came back, and the target keeps another owner or mode than the root has in the backup.
  std::optional<KeptTop> kept_top;
  double seconds = 0;
};
inline constexpr std::size_t kMostProblems = 1000, kMostKeptNamed = 5;

// Writes what lies below `root` (a folder's node) into the folder `target`, which is made when it is missing. When all
// of it comes back, a target that is new, or held nothing, also gets the root's metadata; one that held something
// may be /tmp, and keeps its own.
// Names that no filesystem can have ("..", "a/b", empty, NUL) are problems; nothing outside `target` is touched
// and no symbolic link that lies in it, old or new, is followed. A file that fails is a problem, and the rest
// goes on; without room only the folders made so far are finished. Content is verified before it is written. Throws Error
// when a path in `paths` does not exist, or when `target` cannot be used; Cancelled on stop.
FileRestoreResult restore_files(const repo::IndexedRepository& repository, const repo::Node& root,
                                const std::string& target, const FileRestoreOptions& options,
                                Progress& progress, std::stop_token stop);

}  // namespace respaldo::restore
