#include "engine/snapshot_guard.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"

namespace respaldo::engine {

namespace {

constexpr double kLongWindow = 10, kShortWindow = 1;  // seconds
constexpr double kExtendAt = 0.6, kAbortAt = 0.95, kPoolWarnAt = 0.9;
constexpr double kReaction = 15;  // seconds that an extension must have before the store is full
constexpr double kEnough = 2;     // times the time that is needed
constexpr double kRetry = 3;      // seconds after an extension that failed
constexpr double kSlow = 5;       // seconds after which an extension may as well have failed
constexpr std::uint64_t kDefaultPoolPercent = 5;

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 1.0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::optional<double> seconds_to_full(const CowFigures& cow, double rate) {
  if (rate < 1) return std::nullopt;
  return static_cast<double>(cow.size - std::min(cow.used, cow.size)) / rate;
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// "78% full, 1.20 MiB/s, full in 0:40, while the backup needs 3:10 more"
std::string trend(const CowFigures& cow, double rate, std::optional<double> needed) {
  std::string text =
      fmt::format("{:.0f}% of {} full", 100 * share(cow.used, cow.size), format_size(cow.size));
  if (const auto left = seconds_to_full(cow, rate))
    text += fmt::format(", growing by {}, full in {}", format_rate(rate), format_duration(*left));
  if (needed) text += fmt::format(", while the backup needs {} more", format_duration(*needed));
  return text;
}

}  // namespace

void FillRate::add(double seconds, std::uint64_t used) {
  samples_.emplace_back(seconds, used);
  while (samples_.size() > 2 && samples_[1].first <= seconds - kLongWindow) samples_.pop_front();
}

double FillRate::bytes_per_second() const {
  if (samples_.size() < 2) return 0;
  const auto [now, used] = samples_.back();
  const auto since = [&](const std::pair<double, std::uint64_t>& old) {
    const double passed = now - old.first;
    return passed > 0 && used > old.second ? static_cast<double>(used - old.second) / passed : 0.0;
  };
  const auto recent =
      std::ranges::find_if(samples_, [&](const auto& one) { return one.first >= now - kShortWindow; });
  return std::max(since(samples_.front()), since(*recent));
}

std::uint64_t wanted_growth(const CowFigures& cow, double rate, std::optional<double> needed) {
  if (!cow.valid || cow.size == 0 || (cow.maximum != 0 && cow.size >= cow.maximum)) return 0;
  const std::uint64_t free = cow.size - std::min(cow.used, cow.size);
  const double left = seconds_to_full(cow, rate).value_or(1e18);
  const bool filling = share(cow.used, cow.size) >= kExtendAt && left < kEnough * needed.value_or(1e9);
  const bool soon = left < kReaction && left < kEnough * needed.value_or(1e9);
  const bool nearly_full = share(cow.used, cow.size) >= 0.9;
  if (!filling && !soon && !nearly_full) return 0;
  // What the rest of the run takes at this rate, with a half more; never less than half of what there is.
  const double need = rate * std::clamp(needed.value_or(kReaction * 4), kReaction, 3600.0) * 1.5;
  const double more = need - static_cast<double>(free);
  return std::max({cow.size / 2, std::uint64_t{1}, more > 0 ? static_cast<std::uint64_t>(more) : 0});
}

std::string pool_shortage(const PoolFigures& pool, const std::optional<Amount>& min_free) {
  const Amount least = min_free.value_or(Amount{Amount::Of::pool, kDefaultPoolPercent});
  const std::uint64_t data_free = pool.data_size - std::min(pool.data_used, pool.data_size);
  const std::uint64_t metadata_free = pool.metadata_size - std::min(pool.metadata_used, pool.metadata_size);
  if (!pool.writable)
    return fmt::format("the thin pool {} is full or has failed: it takes no writes", printable(pool.name));
  if (data_free < least.resolve({0, 0, 0, pool.data_size}))
    return fmt::format("the thin pool {} has only {} of {} free for data", printable(pool.name),
                       format_size(data_free), format_size(pool.data_size));
  // Bytes are of data; of metadata a share counts.
  const std::uint64_t percent = least.of == Amount::Of::bytes ? kDefaultPoolPercent : least.value;
  if (least != Amount::bytes(0) &&
      metadata_free < Amount{Amount::Of::pool, percent}.resolve({0, 0, 0, pool.metadata_size}))
    return fmt::format("the thin pool {} has only {} of {} free for metadata", printable(pool.name),
                       format_size(metadata_free), format_size(pool.metadata_size));
  return {};
}

SnapshotGuard::SnapshotGuard(GuardOptions options, Progress& progress,
                             std::function<std::optional<double>()> seconds_needed)
    : options_(options),
      progress_(progress),
      display_(dynamic_cast<GaugeDisplay*>(&progress)),
      seconds_needed_(std::move(seconds_needed)),
      looking_([this](const std::stop_token& stop) { run(stop); }),
      extending_([this](const std::stop_token& stop) { extend(stop); }) {}

SnapshotGuard::~SnapshotGuard() {
  looking_.request_stop();
  extending_.request_stop();
  std::lock_guard lock(mutex_);
  if (growing_) growing_->stop.request_stop();
}

void SnapshotGuard::watch(SnapshotLease& lease, std::string volume) {
  if (!lease.cow() && !lease.pool()) return;
  std::lock_guard lock(mutex_);
  watched_.push_back({&lease, std::move(volume), {}});
  wake_.notify_all();
}

std::uint64_t SnapshotGuard::forget(const SnapshotLease& lease) {
  std::unique_lock lock(mutex_);
  for (Watched& one : watched_)
    if (one.lease == &lease) one.leaving = true;
  const auto grows = [&] { return growing_ && growing_->of.lease == &lease; };
  if (grows()) growing_->stop.request_stop();
  growing_changed_.wait(lock, [&] { return !grows(); });
  std::uint64_t added = 0;
  watched_.remove_if([&](const Watched& one) {
    if (one.lease == &lease) added = one.added;
    return one.lease == &lease;
  });
  return added;
}

void SnapshotGuard::check() const {
  std::lock_guard lock(failure_mutex_);
  if (failure_) throw Error(*failure_);
}

void SnapshotGuard::give_up(Error error) {
  std::lock_guard lock(failure_mutex_);
  if (!failure_) failure_ = std::move(error);
}

void SnapshotGuard::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    worst_.reset();
    for (Watched& watched : watched_) {
      try {
        look(watched, now_seconds());
      } catch (const std::exception& error) {
        // The run itself asks whether its snapshots are sound; a question that failed is asked again.
        if (!std::exchange(watched.warned, true))
          progress_.note(
              fmt::format("warning: the snapshot of {} cannot be watched: {}", watched.volume, error.what()));
      }
      if (stop.stop_requested()) return;
    }
    wake_.wait_for(lock, stop, options_.interval, [] { return false; });
  }
}

void SnapshotGuard::look(Watched& watched, double now) {
  if (const auto cow = watched.lease->cow()) look_at_store(watched, *cow, now);
  if (const auto pool = watched.lease->pool()) look_at_pool(watched, *pool);
}

void SnapshotGuard::look_at_store(Watched& watched, const CowFigures& cow, double now) {
  if (!cow.valid) return;  // the run finds out before it believes another byte
  watched.rate.add(now, cow.used);
  const double rate = watched.rate.bytes_per_second();
  const auto left = seconds_to_full(cow, rate);
  if (!worst_ || left.value_or(1e18) < *worst_) {
    worst_ = left.value_or(1e18);
    if (display_ != nullptr)
      display_->gauge({fmt::format("snapshot of {}", watched.volume), cow.used, cow.size, rate, left});
  }
  const auto needed = seconds_needed_();
  const std::uint64_t wanted = wanted_growth(cow, rate, needed);
  if (wanted > 0 && now >= watched.next_try && !watched.leaving && !growing_) {
    growing_.emplace(Growing{watched, cow, wanted, now});
    growing_changed_.notify_all();
  }
  const bool helpless = watched.next_try > now || (growing_ && now - growing_->since > kSlow);
  if (options_.on_full == GuardOptions::OnFull::abort && helpless && share(cow.used, cow.size) >= kAbortAt)
    give_up(Error(ErrorKind::overflow,
                  fmt::format("the snapshot of {} is {}, and cannot be extended: given up before it is full",
                              watched.volume, trend(cow, rate, needed)),
                  fmt::format("{}; give the snapshot more room (--cow), or go on to the end with "
                              "--on-cow-full=continue",
                              options_.outcome)));
}

void SnapshotGuard::extend(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (growing_changed_.wait(lock, stop, [&] { return growing_.has_value(); }) && !stop.stop_requested()) {
    Growing& growing = *growing_;  // stays until we end it
    SnapshotLease::Growth growth;
    lock.unlock();
    try {
      growth = growing.of.lease->grow(growing.wanted, growing.stop.get_token());
    } catch (const std::exception& error) {
      growth.why = error.what();
    }
    lock.lock();
    settle(growing, growth);
    growing_.reset();
    growing_changed_.notify_all();
  }
}

void SnapshotGuard::settle(const Growing& growing, const SnapshotLease::Growth& growth) {
  Watched& watched = growing.of;
  const double rate = watched.rate.bytes_per_second();
  if (growth.added > 0) {
    watched.added += growth.added;
    watched.warned = false;
    progress_.note(fmt::format("the snapshot of {} was {}: extended by {}", watched.volume,
                               trend(growing.before, rate, {}), format_size(growth.added)));
    return;
  }
  watched.next_try = now_seconds() + kRetry;
  if (growing.stop.stop_requested()) return;  // nobody needs it any more
  if (growth.why.empty() || std::exchange(watched.warned, true)) return;
  progress_.note(fmt::format("warning: the snapshot of {} is {}; it cannot be extended: {}", watched.volume,
                             trend(growing.before, rate, seconds_needed_()), growth.why));
}

void SnapshotGuard::look_at_pool(Watched& watched, const PoolFigures& pool) {
  const std::string shortage = pool_shortage(pool, options_.min_pool_free);
  if (!shortage.empty())
    give_up(Error(ErrorKind::no_space,
                  fmt::format("{}: the {} of {} was given up to spare it", shortage, options_.work, watched.volume),
                  fmt::format("{}; extend the pool (lvextend), or allow less with --min-pool-free",
                              options_.outcome)));
  const double data = share(pool.data_used, pool.data_size),
               metadata = share(pool.metadata_used, pool.metadata_size);
  if (std::max(data, metadata) >= kPoolWarnAt && !std::exchange(watched.pool_warned, true))
    progress_.note(fmt::format("warning: the thin pool {} is nearly full: data {:.0f}%, metadata {:.0f}%",
                               printable(pool.name), 100 * data, 100 * metadata));
}

}  // namespace respaldo::engine
