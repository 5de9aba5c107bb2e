// Index files made anew without packs that go, or with packs that no index knew.
#pragma once

#include <functional>
#include <stop_token>
#include <vector>

#include "base/progress.h"
#include "repo/lock.h"
#include "repo/repository.h"

namespace respaldo::care {

struct IndexChange {
  std::vector<repo::PackId> drop{};           // sorted
  std::vector<repo::PackContents> replace{};  // packs to tell as given here, whatever the old files say
  bool discard_unreadable = false;            // index files that cannot be read go, too
};
struct IndexFiles {
  std::uint64_t kept = 0, written = 0, removed = 0;
};

// Writes new index files, makes them durable, and only then removes those that they stand for: at every
// moment the index tells all packs that stay. Only files that change are written, and many small ones become
// one; a pack that several files tell about is told once. Reads one index file at a time. `before` is the
// loaded index. REQUIRES an exclusive lock.
IndexFiles rewrite_index(repo::Repository& repository, const repo::Index& before, const IndexChange& change,
                         repo::RepoLock* lock, Progress& progress, const std::stop_token& stop);

// Removes files of one type, in no order; durable only after the backend's sync(). The one way by which packs
// and index files leave a repository, and so the place to look whether we still hold our lock (null: nobody else knows
// the repository).
void remove_files(repo::Repository& repository, store::FileType type, const std::vector<std::string>& names,
                  repo::RepoLock* lock, Progress& progress);

}  // namespace respaldo::care
