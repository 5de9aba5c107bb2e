#include "store/sftp_pace.h"

#include <algorithm>
#include <utility>

namespace respaldo::store::sftp {

namespace {

// The rate is the best of the last hundred or so: the first writes of a file have too little before them to tell it.
constexpr double kForget = 0.99;
// What is handed over in one go waits for itself: half of the rate is seen when just enough is on its way.
constexpr double kGain = 2;
constexpr double kLeastLatency = 1e-6;  // no clock is better

double seconds(std::chrono::nanoseconds time) {
  return std::max(std::chrono::duration<double>(time).count(), kLeastLatency);
}

}  // namespace

double Pace::least() const {
  return least_ == 0 || least_before_ == 0 ? std::max(least_, least_before_) : std::min(least_, least_before_);
}

void Pace::answered(std::chrono::nanoseconds latency) {
  std::lock_guard lock(mutex_);
  least_ = least_ == 0 ? seconds(latency) : std::min(least_, seconds(latency));
}

void Pace::wrote(std::uint64_t length, std::uint64_t under_way, std::chrono::nanoseconds latency) {
  std::lock_guard lock(mutex_);
  rate_ = std::max(rate_ * kForget, static_cast<double>(under_way) / seconds(latency));
  if ((written_ += length) < kLately) return;
  written_ = 0;
  least_before_ = std::exchange(least_, 0);
}

std::chrono::nanoseconds Pace::least_latency() const {
  std::lock_guard lock(mutex_);
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(least()));
}

std::uint64_t Pace::window() const {
  std::lock_guard lock(mutex_);
  return static_cast<std::uint64_t>(std::min(kSpare + kGain * least() * rate_, static_cast<double>(kMost)));
}

}  // namespace respaldo::store::sftp
