// Figures of a job for Prometheus, in the text format that node_exporter's textfile collector reads. The
// names are an interface; docs/configuration.md lists them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "job/state.h"

namespace respaldo::job {

struct Metrics {
  std::string job, version;
  std::int64_t run_time = 0;  // when this run ended, seconds since 1970
  double seconds = 0;
  int exit_code = 0;
  State state;  // after this run
  // Of this run's backup; absent when there is none.
  std::optional<std::uint64_t> bytes_read, bytes_new, bytes_stored;
  std::vector<std::pair<std::string, double>> cow_peak;  // volume, 0 to 1
  std::vector<std::pair<std::string, double>> pool_data, pool_metadata;  // of a thin volume's pool; likewise
};

std::string metrics_text(const Metrics& metrics);

}  // namespace respaldo::job
