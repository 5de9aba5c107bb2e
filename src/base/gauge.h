// Something that fills up beside the work and may end it: a snapshot's COW store.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace respaldo {

struct Gauge {
  std::string what;                  // "snapshot of vg0/root"
  std::uint64_t used = 0, size = 0;  // bytes
  double rate = 0;                   // bytes per second, lately
  std::optional<double> seconds_to_full{};
};

// A Progress that can show one beside its figures is one of these, too. Thread-safe.
class GaugeDisplay {
 public:
  virtual ~GaugeDisplay() = default;
  // From now on, until the phase ends.
  virtual void gauge(const Gauge& gauge) = 0;
};

}  // namespace respaldo
