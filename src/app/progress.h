// How progress is shown: a line that is redrawn, lines now and then, or JSON events.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/gauge.h"
#include "base/progress.h"

namespace respaldo::app {

// "snapshot of vg0/root 34% full, 1.20 MiB/s, full in 0:40".
std::string gauge_text(const Gauge& gauge);

// lines: every ten seconds; journal: every five minutes.
enum class ProgressStyle { terminal, lines, journal, json, silent };

// `write` takes text for standard error as it is. Thread-safe.
std::unique_ptr<Progress> make_progress(ProgressStyle style, unsigned columns,
                                        std::function<void(std::string_view)> write);

}  // namespace respaldo::app
