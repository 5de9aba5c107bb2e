// What is done around the taking of a backup's snapshots.
#pragma once

namespace respaldo::backup {

// Called by run_backup from its own thread.
class SnapshotHooks {
 public:
  virtual ~SnapshotHooks() = default;
  // Before the first snapshot is taken. What it throws ends the backup.
  virtual void before() = 0;
  // When the last one was taken, or one could not be, or before() threw: once before() was called, always. What it
  // throws ends the backup, unless that has failed already.
  virtual void after() = 0;
};

}  // namespace respaldo::backup
