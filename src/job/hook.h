// Programs of the user's that are run around a backup: a database is frozen and thawed, somebody is told.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "backup/snapshot_hooks.h"
#include "config/config.h"
#include "job/watchdog.h"

namespace respaldo::job {

// What a hook is told, as environment variables: {"VOLUMES", "vg0/root"} is RESPALDO_VOLUMES.
using Facts = std::vector<std::pair<std::string, std::string>>;

// Runs the hook `name` ("before-snapshot") without a shell; nothing when argv is empty. Error(io) with the
// end of what it wrote to standard error when it cannot be run, fails, or takes longer than the deadline.
// `input` is on its standard input.
void run_hook(const std::string& name, const config::Argv& argv, std::chrono::seconds deadline,
              const Facts& facts, std::stop_token stop = {}, const std::string& input = {});

// The hooks around the snapshot. What was frozen is thawed whatever happens: after() or the destructor does
// it, and a watchdog when our process ends before, or the snapshot takes longer than thaw_after; after()
// throws then, since the snapshot may be of a moment after the thaw.
class SnapshotFreeze final : public backup::SnapshotHooks {
 public:
  SnapshotFreeze(config::Hooks hooks, Facts facts, std::stop_token stop);
  ~SnapshotFreeze() override;
  SnapshotFreeze(const SnapshotFreeze&) = delete;
  SnapshotFreeze& operator=(const SnapshotFreeze&) = delete;

  void before() override;
  void after() override;

 private:
  const config::Hooks hooks_;
  const Facts facts_;
  const std::stop_token stop_;
  bool frozen_ = false;  // before() was called, and after() was not
  std::unique_ptr<Watchdog> watchdog_;
};

}  // namespace respaldo::job
