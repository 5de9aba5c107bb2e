#include "app/progress.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/units.h"

namespace respaldo::app {

std::string gauge_text(const Gauge& gauge) {
  const double percent =
      gauge.size == 0 ? 100.0 : 100.0 * static_cast<double>(gauge.used) / static_cast<double>(gauge.size);
  std::string text = fmt::format("{} {:.0f}% full", gauge.what, percent);
  if (gauge.rate >= 1) text += fmt::format(", {}", format_rate(gauge.rate));
  if (gauge.seconds_to_full) text += fmt::format(", full in {}", format_duration(*gauge.seconds_to_full));
  return text;
}

namespace {

using Clock = std::chrono::steady_clock;

// What all styles share: the phase, its count, and when to speak next.
class TimedProgress : public Progress, public GaugeDisplay {
 public:
  TimedProgress(std::chrono::milliseconds interval, std::function<void(std::string_view)> write)
      : write_(std::move(write)), interval_(interval) {}

  void begin(std::string_view phase, std::uint64_t total) override {
    std::lock_guard lock(mutex_);
    phase_ = phase;
    total_ = total;
    done_ = 0;
    start_ = Clock::now();
    next_ = (start_ + interval_).time_since_epoch().count();
    started();
  }
  void advance(std::uint64_t bytes) override {
    done_.fetch_add(bytes, std::memory_order_relaxed);
    if (Clock::now().time_since_epoch().count() < next_.load(std::memory_order_relaxed)) return;
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || phase_.empty()) return;
    next_ = (Clock::now() + interval_).time_since_epoch().count();
    shown();
  }
  void end() override {
    std::lock_guard lock(mutex_);
    ended();
    phase_.clear();
    gauge_.reset();
  }
  void gauge(const Gauge& gauge) override {
    std::lock_guard lock(mutex_);
    gauge_ = gauge;
  }

 protected:
  virtual void started() {}
  virtual void shown() = 0;
  virtual void ended() {}

  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  // "1.20 GiB of 3.00 GiB (40%), 512.00 MiB/s, 0:12 left"
  std::string figures() const {
    std::string text = phase_figures();
    if (gauge_) text += fmt::format("; {}", gauge_text(*gauge_));
    return text;
  }
  std::optional<Gauge> gauge_;

 private:
  std::string phase_figures() const {
    const double rate = static_cast<double>(done_) / std::max(seconds(), 1e-3);
    if (total_ == 0) return fmt::format("{}, {}", format_size(done_), format_rate(rate));
    const std::uint64_t done = std::min<std::uint64_t>(done_, total_);
    const double left = static_cast<double>(total_ - done) / std::max(rate, 1.0);
    return fmt::format("{} of {} ({}%), {}, {} left", format_size(done), format_size(total_),
                       static_cast<unsigned>(100.0 * static_cast<double>(done) / static_cast<double>(total_)),
                       format_rate(rate), format_duration(left));
  }

 protected:
  std::function<void(std::string_view)> write_;
  std::mutex mutex_;
  std::string phase_;
  std::uint64_t total_ = 0;
  std::atomic<std::uint64_t> done_{0};
  Clock::time_point start_;

 private:
  std::chrono::milliseconds interval_;
  std::atomic<Clock::rep> next_{0};
};

class TerminalProgress final : public TimedProgress {
 public:
  TerminalProgress(unsigned columns, std::function<void(std::string_view)> write)
      : TimedProgress(std::chrono::milliseconds(100), std::move(write)), columns_(std::max(columns, 20U)) {}
  void note(std::string_view text) override {
    std::lock_guard lock(mutex_);
    clear();
    write_(fmt::format("{}\n", text));
  }

 protected:
  void shown() override {
    std::string line = fmt::format("{}: {}", phase_, figures());
    if (line.size() >= columns_) line.resize(columns_ - 1);
    write_(fmt::format("\r{}\x1b[K", line));
    drawn_ = true;
  }
  void ended() override { clear(); }

 private:
  void clear() {
    if (drawn_) write_("\r\x1b[K");
    drawn_ = false;
  }
  unsigned columns_;
  bool drawn_ = false;
};

class LineProgress final : public TimedProgress {
 public:
  LineProgress(std::chrono::seconds interval, std::function<void(std::string_view)> write)
      : TimedProgress(interval, std::move(write)) {}
  void note(std::string_view text) override {
    std::lock_guard lock(mutex_);
    write_(fmt::format("{}\n", text));
  }

 protected:
  void shown() override { write_(fmt::format("{}: {}\n", phase_, figures())); }
};

class JsonProgress final : public TimedProgress {
 public:
  explicit JsonProgress(std::function<void(std::string_view)> write)
      : TimedProgress(std::chrono::seconds(1), std::move(write)) {}
  void note(std::string_view text) override { event({{"event", "note"}, {"message", text}}); }

 protected:
  void started() override { event({{"event", "begin"}, {"phase", phase_}, {"total_bytes", total_}}); }
  void shown() override {
    nlohmann::json json = {{"event", "progress"},
                           {"phase", phase_},
                           {"done_bytes", done_.load()},
                           {"total_bytes", total_},
                           {"seconds", seconds()}};
    if (gauge_) {
      json["cow"] = {{"snapshot", gauge_->what},
                     {"used_bytes", gauge_->used},
                     {"size_bytes", gauge_->size},
                     {"bytes_per_second", gauge_->rate}};
      if (gauge_->seconds_to_full) json["cow"]["seconds_to_full"] = *gauge_->seconds_to_full;
    }
    event(json);
  }
  void ended() override {
    if (!phase_.empty())
      event({{"event", "end"}, {"phase", phase_}, {"done_bytes", done_.load()}, {"seconds", seconds()}});
  }

 private:
  void event(const nlohmann::json& json) {
    write_(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
};

}  // namespace

std::unique_ptr<Progress> make_progress(ProgressStyle style, unsigned columns,
                                        std::function<void(std::string_view)> write) {
  switch (style) {
    case ProgressStyle::terminal:
      return std::make_unique<TerminalProgress>(columns, std::move(write));
    case ProgressStyle::lines:
      return std::make_unique<LineProgress>(std::chrono::seconds(10), std::move(write));
    case ProgressStyle::journal:
      return std::make_unique<LineProgress>(std::chrono::minutes(5), std::move(write));
    case ProgressStyle::json:
      return std::make_unique<JsonProgress>(std::move(write));
    case ProgressStyle::silent:
      break;
  }
  return std::make_unique<SilentProgress>();
}

}  // namespace respaldo::app
