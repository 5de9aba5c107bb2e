// The checkers that filesystems bring with them, on an image file of our own.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/extent.h"
#include "os/file.h"

namespace respaldo::drill {

struct CheckerResult {
  std::string command;  // "e2fsck -fn"; empty: none is known, or it is not installed (see `note`)
  int exit_code = 0;
  enum class Says { nothing_wrong, errors, unusable, not_run } says = Says::not_run;
  std::vector<std::string> last_lines;
  std::string note;
};

// `where`: the filesystem's bytes in the image. `dirty`: the filesystem was in use when the snapshot was
// taken, so that its journal is replayed first, as mounting would; that writes to the image.
CheckerResult run_checker(const std::string& filesystem, const os::Path& image, Extent where, bool dirty,
                          std::stop_token stop);

}  // namespace respaldo::drill
