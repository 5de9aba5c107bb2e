// `mount DIR`: the backups of a repository as files, by FUSE.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>

#include "base/progress.h"
#include "os/file.h"
#include "repo/repository.h"

namespace respaldo::serve {

inline constexpr std::uint64_t kDefaultMountCache = 256U << 20;

struct MountOptions {
  os::Path mount_point;
  // Other users may use the mount (needs user_allow_other in fuse.conf, or root); the kernel then judges by
  // the stored modes and owners. Without it the one user who mounted may read everything.
  bool allow_other = false;
  std::uint64_t cache_bytes = kDefaultMountCache;
  std::function<bool(const repo::Snapshot&)> wanted = [](const repo::Snapshot&) { return true; };
  // Called once when the files are there.
  std::function<void()> ready;
  // True when the repository's lock was lost: told once.
  std::function<bool()> lock_lost;
};

// Serves until unmounted, or until a stop is asked: then it unmounts as soon as nobody has a file open
// (saying so while it waits). Damage met by readers is noted in `progress`, each once. Error(io) when it
// cannot mount, or serve.
void mount_backups(repo::Repository& repository, const MountOptions& options, Progress& progress,
                   std::stop_token stop);

}  // namespace respaldo::serve
