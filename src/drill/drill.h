// A drill: is the backup of a volume one that would save the day? It is restored for real, into a scratch
// file; the filesystem's own checker looks at it; and files read out of it are compared with the hashes that
// the backup's file view has.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "os/file.h"
#include "repo/repository.h"
#include "view/volume_view.h"

namespace respaldo::drill {

enum class Verdict {
  good,       // restored; the checker and every compared file agree
  unchecked,  // restored, every blob verified; but nothing here can judge the content (swap, a raw database)
  damaged,    // the repository lost bytes of it, its filesystem has errors, or files are not as stored
  unmountable,  // restored, but its filesystem is beyond use
};
const char* to_string(Verdict verdict);

struct Options {
  os::Path scratch;  // a folder with room for the volume's data; its own subfolder is removed afterwards
  unsigned sample_percent = 10;  // of the files; 100: all
  std::string known_filesystem;  // that an older backup of the volume has; may be empty
  std::uint64_t seed = 0;        // which files are in the sample
  unsigned threads = 0;          // 0: one for each core
};

// One filesystem inside the image: the volume itself, or a partition of it.
struct FilesystemReport {
  std::string where;       // "" or "part1"
  std::string filesystem;  // "ext4"; empty: none is known
  std::string checker;     // "e2fsck -fn"; empty: none was run
  int checker_code = 0;
  std::vector<std::string> checker_says;  // its last lines, when it complains
  std::uint64_t files = 0;                // in the backup's file view
  std::uint64_t compared = 0, compared_bytes = 0;
  std::uint64_t different = 0;           // compared files that are not as stored
  std::vector<std::string> differences;  // the first of them: "PATH: why"
  std::vector<std::string> notes;        // what was not looked at, and why
  std::string trouble;                   // why it cannot be mounted; else empty
  Verdict verdict = Verdict::unchecked;
};

struct Report {
  std::string volume;  // "vg0/root"
  Verdict verdict = Verdict::unchecked;
  std::string why;  // in a sentence
  std::uint64_t image_size = 0, bytes_written = 0;
  double restore_seconds = 0, seconds = 0;
  std::vector<FilesystemReport> filesystems;
  std::vector<std::string> notes;
};

// The repository cannot give something back: the verdict is `damaged`. Else the drill itself failed.
bool is_damage(const Error& error);

// Error(no_space) when the scratch is full, other Errors when the drill itself cannot go on; what is wrong
// with the backup is in the report. Cancelled on stop. Nothing stays in the scratch.
Report run_drill(const std::shared_ptr<const repo::IndexedRepository>& repository,
                 const repo::Snapshot& snapshot, const view::StoredVolume& volume, const Options& options,
                 Progress& progress, std::stop_token stop);

}  // namespace respaldo::drill
