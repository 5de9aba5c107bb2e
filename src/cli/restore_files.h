// restore --files: stored files into a folder.
#pragma once

#include <string>
#include <vector>

#include "app/context.h"

namespace respaldo::cli {

struct RestoreFilesOptions {
  std::string backup, volume, target, overwrite;
  std::vector<std::string> paths;
  unsigned threads = 0;
};

// ExitCode::failed when something could not be brought back; the rest was.
app::ExitCode restore_files(app::Context& context, const RestoreFilesOptions& options);

}  // namespace respaldo::cli
