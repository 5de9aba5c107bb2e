// Progress that knows how long the phase will still take.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>

#include "base/gauge.h"
#include "base/progress.h"

namespace respaldo::backup {

// Passes everything on. Thread-safe.
class MeasuredProgress final : public Progress, public GaugeDisplay {
 public:
  explicit MeasuredProgress(Progress& shown) : shown_(shown) {}

  void begin(std::string_view phase, std::uint64_t total) override {
    done_ = 0;
    started_ = Clock::now();
    total_ = total;
    shown_.begin(phase, total);
  }
  void advance(std::uint64_t bytes) override {
    done_ += bytes;
    shown_.advance(bytes);
  }
  void end() override {
    total_ = 0;
    shown_.end();
  }
  void note(std::string_view text) override { shown_.note(text); }
  void gauge(const Gauge& gauge) override {
    if (display_ != nullptr) display_->gauge(gauge);
  }

  // At the rate so far. Absent without a total, or before anything was done.
  std::optional<double> seconds_left() const {
    const std::uint64_t total = total_, done = done_;
    if (total == 0 || done == 0) return std::nullopt;
    const double passed = std::chrono::duration<double>(Clock::now() - started_.load()).count();
    return passed * static_cast<double>(total - std::min(done, total)) / static_cast<double>(done);
  }

 private:
  using Clock = std::chrono::steady_clock;
  Progress& shown_;
  GaugeDisplay* const display_ = dynamic_cast<GaugeDisplay*>(&shown_);
  std::atomic<std::uint64_t> total_{0}, done_{0};
  std::atomic<Clock::time_point> started_{Clock::now()};
};

}  // namespace respaldo::backup
