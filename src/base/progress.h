// How long work tells that it goes on.
#pragma once

#include <cstdint>
#include <string_view>

namespace respaldo {

// Thread-safe. One phase at a time: begin, advance..., end. Implementations limit their own output rate.
class Progress {
 public:
  virtual ~Progress() = default;
  // total in bytes; 0 when not known.
  virtual void begin(std::string_view phase, std::uint64_t total) = 0;
  virtual void advance(std::uint64_t bytes) = 0;  // done since the last call
  virtual void end() = 0;
  // Something the user should read now (a warning, a decision), printed at once.
  virtual void note(std::string_view text) = 0;
};

// A phase that ends with its scope, on errors too.
class ProgressPhase {
 public:
  ProgressPhase(Progress& progress, std::string_view phase, std::uint64_t total) : progress_(progress) {
    progress_.begin(phase, total);
  }
  ~ProgressPhase() { progress_.end(); }
  ProgressPhase(const ProgressPhase&) = delete;
  ProgressPhase& operator=(const ProgressPhase&) = delete;

 private:
  Progress& progress_;
};

// Says nothing.
class SilentProgress final : public Progress {
 public:
  void begin(std::string_view, std::uint64_t) override {}
  void advance(std::uint64_t) override {}
  void end() override {}
  void note(std::string_view) override {}
};

}  // namespace respaldo
