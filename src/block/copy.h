// Bytes from one device to another.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>

#include "base/extent.h"
#include "base/progress.h"
#include "block/device.h"

namespace respaldo::block {

enum class CopyMode {
  all,        // every byte is written
  differing,  // both are read, and only blocks that differ are written
  compare,    // both are read, nothing is written
};

// Bytes, counted in blocks of kCopyBlock.
struct CopyTotals {
  std::uint64_t changed = 0;  // written; with CopyMode::compare: of blocks that differ
  std::uint64_t equal = 0;    // left alone
};
inline constexpr std::uint64_t kCopyBlock = 64 << 10;

// Copies `ranges`, which must lie within both devices (Error(internal) else), by several threads (0: one for
// each core). What is zeros is made so by WritableDevice::zero. Does not flush. Progress is in bytes of
// `ranges`; the caller begins and ends the phase. A stop throws Cancelled. `check` is
// asked before each piece, by all threads, and throws to end it.
CopyTotals copy(const Device& from, WritableDevice& to, const ExtentSet& ranges, CopyMode mode,
                unsigned threads, Progress& progress, const std::stop_token& stop,
                const std::function<void()>& check = {});

}  // namespace respaldo::block
