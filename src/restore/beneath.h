// Names below one folder, and never beside it.
#pragma once

#include <fcntl.h>

#include <string>
#include <string_view>

#include "os/unique_fd.h"

namespace respaldo::restore {

// Why no file can have this name ("", ".", "..", a slash or NUL in it); null when one can.
const char* name_problem(std::string_view name);

// A folder in which foreign paths are opened: no symbolic link is followed, whoever made it and whenever, and
// no path leads out. Thread-safe.
class Beneath {
 public:
  enum class Resolve {
    kernel,
    by_hand
  };  // by_hand: one component after another, for kernels without openat2

  explicit Beneath(os::UniqueFd root, Resolve how = Resolve::kernel);
  int root() const { return root_.get(); }

  // A folder below the root by its path ("/" between names that name_problem() passes; "": the root itself),
  // of any length. `flags`: O_PATH, or O_RDONLY. Error as of openat(2); a symbolic link is not a folder.
  os::UniqueFd open_folder(std::string_view path, int flags = O_PATH) const {
    return open_folder(root(), path, flags);
  }
  // The same below a folder that was opened here.
  os::UniqueFd open_folder(int folder, std::string_view path, int flags) const;

 private:
  os::UniqueFd open_piece(int folder, std::string_view piece, int flags) const;
  os::UniqueFd root_;
  Resolve how_;
};

}  // namespace respaldo::restore
