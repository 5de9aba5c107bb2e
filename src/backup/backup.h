// One pass over the volumes of a run: the plan, the pipeline, the trees, the backup's object.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "backup/cut_plan.h"
#include "backup/snapshot_hooks.h"
#include "base/progress.h"
#include "engine/snapshot_guard.h"
#include "engine/volume_engine.h"
#include "os/file.h"
#include "repo/blob_writer.h"
#include "view/base_facts.h"
#include "view/volume_view.h"

namespace respaldo::backup {

enum class OnReadError { fail, skip };

// Filesystems that the kernel reads for us through a private mount: all but ext.
enum class Mounting {
  automatic,  // on the kernel engine, those that fill their volume
  never,
  always,  // whatever the engine, and on partitions inside volumes, too
};

// What one tree of a backup may list: all of it is in memory when it is read. Tests set less.
struct TreeLimits {
  // IDs of an image: 67 bytes each, 256 MiB in all. With more, each part has a tree of its own, ...
  std::size_t image_ids = 4'000'000;
  std::size_t least_part_ids = 1U << 18, most_part_ids = 1U << 20;  // ... with about so many
  std::size_t folder_bytes = repo::kLongestTree;
};

struct BackupOptions {
  std::vector<engine::VolumeName> volumes;
  bool from_snapshot = false;             // volumes name existing snapshots
  std::optional<std::uint64_t> cow_size;  // bytes
  std::optional<engine::Amount> cow_share, keep_free;  // see AcquireOptions
  engine::GuardOptions guard;
  bool raw = false;                       // image view only
  Mounting mounting = Mounting::automatic;
  bool all_blocks = false;                // what the filesystem calls free is read and stored, too
  bool full = false;                      // bases are not used: everything is read
  bool quick = false;      // without a base: files whose inodes look as they did are not read again
  bool keep_base = false;  // the run's snapshots stay as bases, in the place of older ones
  std::vector<std::string> tags;
  std::string hostname, username, program_version;
  OnReadError on_read_error = OnReadError::fail;
  repo::WriterOptions writer;
  TreeLimits limits;
  unsigned threads = 0;  // 0: one for each core
  os::Path state;  // where it is remembered which bases were removed; empty: nowhere
  bool dry_run = false;  // reads and cuts, stores nothing
  // Called when all but the backup's own object is durable; nothing is listed when it throws.
  std::function<void()> before_commit;
  SnapshotHooks* hooks = nullptr;  // around the taking of the snapshots; null: nothing is done
};

struct VolumeResult {
  view::VolumeFacts facts;
  std::uint64_t bytes_read = 0, bytes_zero = 0, bytes_reused = 0;
  view::BaseRecord base;
  bool base_kept = false;  // its snapshot is the base of the next backup
};

struct BackupSummary {
  std::optional<repo::SnapshotId> id;  // absent for a dry run
  std::vector<VolumeResult> volumes;
  repo::WriterTotals totals;
  double seconds = 0;
  bool incomplete = false;  // ranges were lost and skipped, or a filesystem is damaged
  std::vector<std::string> missing;  // then what it lacks: a line for each volume and each damaged filesystem
  std::vector<std::string> notes;  // what is in the image view alone
  std::vector<std::string>
      warnings;  // the backup is sound, but something should be seen to (a stray snapshot)
};

// The stop came while the store was listing the backup: whether it is listed nobody can tell.
class ListingCancelled : public Cancelled {
 public:
  const char* what() const noexcept override {
    return "interrupted while the backup was being listed: `respaldo list` tells whether it is";
  }
};

// How the repository's lock is looked at. `known`: by what is known of it, as often as one likes (once nobody can have locked
// at the same moment, no store is asked). `asked`: by what the store says. `recent`: by what it said half a second ago at most.
enum class LockLook { known, recent, asked };

// Runs the whole backup: leases, pass, validity of the snapshots after the last byte, packs, index, object.
// Nothing is listed when this throws, unless ListingCancelled; once it is, no stop ends the run. The caller holds the
// repository's lock, which `still_locked` looks at, on any thread (throws when it is lost).
BackupSummary run_backup(engine::VolumeEngine& engine, const repo::IndexedRepository& repository,
                         const BackupOptions& options, Progress& progress,
                         const std::function<void(LockLook)>& still_locked, std::stop_token stop);

}  // namespace respaldo::backup
