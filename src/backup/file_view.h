// The filesystems of a volume: what lies where, before anything is read.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "backup/cut_plan.h"
#include "fs/file_reader.h"

namespace respaldo::backup {

// A filesystem that is understood, on the volume or on one of its partitions.
struct FileView {
  std::string folder;      // "files", or "part1/files": where its tree goes, below /VG/LV
  std::uint64_t base = 0;  // where it begins on the volume
  std::unique_ptr<fs::FileReader> reader;
  bool sole = true;  // false: something else claims the same bytes, so nothing of them is taken for free
};

struct FileViews {
  std::vector<FileView> views;
  std::vector<std::string> warnings;  // filesystems that could not be opened
  std::vector<std::string> notes;     // filesystems that are in the image view alone, as asked
  bool damaged = false;               // at least one of them is damaged, rather than of an unknown kind
};

// Filesystems that are not walked by ourselves.
struct ForeignFilesystems {
  bool mount = false;             // the one that fills the volume is mounted, privately, and read so
  bool mount_partitions = false;  // those of partitions inside the volume, too: a guest's disk, as a rule
};

// Reads the metadata of all filesystems on the volume. What is damaged is a warning: the image view has it
// anyway. `device` must outlive the result.
FileViews open_file_views(const block::Device& device, const ForeignFilesystems& foreign,
                          std::stop_token stop);

// Where the files' data lies, and what is free (unless `all_blocks`). Runs that two files claim, or that
// recovery of the journal would change, belong to no file here.
VolumeMap map_of(const std::vector<FileView>& views, bool all_blocks);

}  // namespace respaldo::backup
