// restore: what export does alike.
#pragma once

#include <string>

#include "app/context.h"
#include "view/volume_view.h"

namespace respaldo::cli {

inline constexpr const char* kBackupHelp =
    "an ID, the beginning of one, or latest; with :VG/LV to choose the volume";

// Tells of ranges that are not in the backup.
void warn_of_losses(app::Context& context, const view::StoredVolume& volume);
// The image into a sparse file, or onto a block device; asks before it overwrites one.
struct ImageToFile {
  std::string backup, host, volume, file;
  bool yes = false;
};
app::ExitCode restore_image_to_file(app::Context& context, const ImageToFile& what);

}  // namespace respaldo::cli
