// Stored files as a tar archive (pax): for people, and machines, without respaldo.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "repo/repository.h"
#include "restore/file_restore.h"

namespace respaldo::restore {

enum class TarCompression { none, gzip, zstd, xz };
// By the name's end: .tar.gz, .tgz, .tar.zst, .tar.xz. Error(usage) when it promises another compression; everything else
// is not compressed.
TarCompression tar_compression(std::string_view file_name);

struct TarOptions {
  std::vector<std::string> paths;  // as for restore_files
  TarCompression compression = TarCompression::none;
  unsigned threads = 0;  // that load blobs; 0: one for each core
};

struct TarResult {
  std::uint64_t entries = 0, bytes = 0;  // bytes: of contents, holes too
  std::uint64_t sockets = 0;             // left out: tar has no place for them
  std::vector<FileProblem> problems;     // left out, or not as stored; at most kMostProblems are kept
  std::uint64_t problem_count = 0;
};

// What lies below `root` as "./path" entries, in tree order: times to the nanosecond, extended attributes,
// access control lists, hard links, devices, holes. `sink` gets the archive's bytes in order, from the
// calling thread. Names that no file can have are problems, and so are files of which a blob is in no index, or in
// no pack: they are left out. What proves lost in a file that is begun (an archive cannot take back what it holds) is
// zeros, and a problem that names the bytes. Throws Error when a path in `paths` does not exist, before there is
// anything of an archive, and when the store cannot be reached; Cancelled on stop.
TarResult export_tar(const repo::IndexedRepository& repository, const repo::Node& root,
                     const TarOptions& options, const std::function<void(ByteView)>& sink, Progress& progress,
                     std::stop_token stop);

}  // namespace respaldo::restore
