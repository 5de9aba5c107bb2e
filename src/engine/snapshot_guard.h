// Watches the snapshots of a run: how full they are, how fast they fill, and whether that will do until the
// run has read them. Extends in time what can be extended, tells early of what cannot, and ends the run where
// the user wants that.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/gauge.h"
#include "base/progress.h"
#include "engine/volume_engine.h"

namespace respaldo::engine {

struct GuardOptions {
  enum class OnFull {
    go_on,  // the snapshot may last until the end; if not, the run fails then
    abort,  // give up before it is full: the origin is spared the copying
  };
  OnFull on_full = OnFull::go_on;
  std::optional<Amount> min_pool_free{};  // absent: 5 %
  std::chrono::milliseconds interval{100};
};

// How fast something grows: bytes per second over the last seconds, and over the last one; the larger counts.
class FillRate {
 public:
  void add(double seconds, std::uint64_t used);
  double bytes_per_second() const;

 private:
  std::deque<std::pair<double, std::uint64_t>> samples_;
};

// By how much a store should grow now; 0: not at all. `seconds_needed`: how long the snapshot must still
// last, when that is known. Pure.
std::uint64_t wanted_growth(const CowFigures& cow, double bytes_per_second,
                            std::optional<double> seconds_needed);

// Says what is short in a pool; empty when there is enough.
std::string pool_shortage(const PoolFigures& pool, const std::optional<Amount>& min_free);

// Runs a thread of its own. Thread-safe.
class SnapshotGuard {
 public:
  // `seconds_needed` is asked now and then: how long the run will still read. `progress` must outlive the
  // guard.
  SnapshotGuard(GuardOptions options, Progress& progress,
                std::function<std::optional<double>()> seconds_needed);
  ~SnapshotGuard();
  SnapshotGuard(const SnapshotGuard&) = delete;
  SnapshotGuard& operator=(const SnapshotGuard&) = delete;

  // `lease` must stay until forget().
  void watch(SnapshotLease& lease, std::string volume);
  // After it the guard does not touch the lease any more; waits for an extension that is under way. Gives how
  // much was added to its store in all.
  std::uint64_t forget(const SnapshotLease& lease);
  // Throws what made the guard give up: Error(overflow), or Error(no_space) of a pool.
  void check() const;

 private:
  struct Watched {
    SnapshotLease* lease;
    std::string volume;
    FillRate rate;
    std::uint64_t added = 0;
    double next_try = 0;  // of extending, after one that failed
    bool warned = false, pool_warned = false;
  };
  void run(const std::stop_token& stop);
  void look(Watched& watched, double now);
  void look_at_store(Watched& watched, const CowFigures& cow, double now);
  void look_at_pool(Watched& watched, const PoolFigures& pool);
  void extend(Watched& watched, const CowFigures& cow, std::uint64_t wanted, double now);
  void give_up(Error error);

  const GuardOptions options_;
  Progress& progress_;
  GaugeDisplay* const display_;
  const std::function<std::optional<double>()> seconds_needed_;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::list<Watched> watched_;
  std::optional<Error> failure_;
  std::optional<double> worst_;  // seconds to full of what is shown
  std::jthread thread_;
};

}  // namespace respaldo::engine
