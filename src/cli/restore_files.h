// restore --files: stored files into a folder.
#pragma once

#include <string>
#include <vector>

#include "app/context.h"
#include "cli/shared.h"
#include "restore/file_restore.h"

namespace respaldo::cli {

struct RestoreFilesOptions {
  std::string backup, host, volume, target, overwrite;
  std::vector<std::string> paths;
  unsigned threads = 0;
};

// Where files to bring back lie.
struct FileRoot {
  repo::Node node;
  std::vector<std::string> paths;  // below it; empty: everything
  std::string what;                // the volume, or the backup
  std::string title;               // for people: both
};
// The files of the volume that is named, or the only one; all of a backup that restic made. Warns of what the
// backup says was damaged. Error(usage) for an empty path; Error(unsupported) when there is only an image.
FileRoot find_file_root(app::Context& context, const FoundBackup& found, const std::string& volume_option,
                        const std::vector<std::string>& paths);

// The first ones, of `count`, on standard error.
void tell_problems(app::Context& context, const std::vector<restore::FileProblem>& problems, std::uint64_t count);

// ExitCode::failed when something could not be brought back; the rest was.
app::ExitCode restore_files(app::Context& context, const RestoreFilesOptions& options);

}  // namespace respaldo::cli
