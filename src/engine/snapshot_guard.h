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
#include <string_view>
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
  // For messages: what is being done, and what it means that it is given up. Literals.
  std::string_view work = "backup", outcome = "nothing was saved";
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

// Runs threads of its own: one looks, one extends, since lvm2 may make that wait for long. Thread-safe.
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
  // After it the guard does not touch the lease any more; an extension that is under way is told to stop, and
  // waited for. Gives how much was added to its store in all.
  std::uint64_t forget(const SnapshotLease& lease);
  // Throws what made the guard give up: Error(overflow), or Error(no_space) of a pool. Waits for nothing.
  void check() const;

 private:
  struct Watched {
    SnapshotLease* lease;
    std::string volume;
    FillRate rate;
    std::uint64_t added = 0;
    double next_try = 0;  // of extending, after one that failed
    bool warned = false, pool_warned = false, leaving = false;
  };
  // An extension: one at a time, as lvm2 would have it in a group anyway.
  struct Growing {
    Watched& of;
    CowFigures before;
    std::uint64_t wanted;
    double since;
    std::stop_source stop{};
  };
  void run(const std::stop_token& stop);
  void look(Watched& watched, double now);
  void look_at_store(Watched& watched, const CowFigures& cow, double now);
  void look_at_pool(Watched& watched, const PoolFigures& pool);
  void extend(const std::stop_token& stop);
  void settle(const Growing& growing, const SnapshotLease::Growth& growth);
  void give_up(Error error);

  const GuardOptions options_;
  Progress& progress_;
  GaugeDisplay* const display_;
  const std::function<std::optional<double>()> seconds_needed_;
  std::mutex mutex_;  // never held while a store grows
  std::condition_variable_any wake_, growing_changed_;
  std::list<Watched> watched_;
  std::optional<Growing> growing_;
  mutable std::mutex failure_mutex_;  // its own: looking may take a while
  std::optional<Error> failure_;
  std::optional<double> worst_;  // seconds to full of what is shown
  std::jthread looking_, extending_;
};

}  // namespace respaldo::engine
