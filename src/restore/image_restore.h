// The image view back onto a disk or into a file: parallel, verified, sparse.
#pragma once

#include <functional>
#include <stop_token>

#include "base/progress.h"
#include "block/device.h"
#include "repo/repository.h"
#include "view/volume_view.h"

namespace respaldo::restore {

struct ImageRestoreOptions {
  bool target_reads_zero =
      false;              // the target is known to be all zeros (a fresh sparse file): skip zero chunks
  bool in_place = false;  // read the target and write only chunks that differ
  unsigned threads = 0;
  // Called when it fails, or is stopped, with a part of the target written over: unless target_reads_zero.
  std::function<void()> half_written{};
};
struct ImageRestoreResult {
  std::uint64_t bytes_written = 0, bytes_zero = 0, bytes_unchanged = 0;
  double seconds = 0;
};

// Writes volume's image onto target (size must be at least image_size; Error(no_space) otherwise) and
// flushes. Every blob is verified before it is written; before the first, on a target that holds something, all
// packs are known to be there.
ImageRestoreResult restore_image(const repo::IndexedRepository& repository, const view::StoredVolume& volume,
                                 block::WritableDevice& target, const ImageRestoreOptions& options,
                                 Progress& progress, std::stop_token stop);

// The image's bytes in order, to a sink (standard output).
void stream_image(const repo::IndexedRepository& repository, const view::StoredVolume& volume,
                  const std::function<void(ByteView)>& sink, Progress& progress, std::stop_token stop);

}  // namespace respaldo::restore
