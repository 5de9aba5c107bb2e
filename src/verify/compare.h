// A backup's image beside a device: where do they differ?
#pragma once

#include <cstdint>
#include <stop_token>
#include <vector>

#include "base/extent.h"
#include "base/progress.h"
#include "block/device.h"

namespace respaldo::verify {

struct Comparison {
  std::uint64_t compared = 0;     // bytes
  std::vector<Extent> differing;  // in order, to blocks of 4 KiB; at most kMostRanges of them
  // Where the image has zeros and the device has not, and that is no difference: free space.
  std::vector<Extent> zero_in_image;
  std::uint64_t differing_bytes = 0, differing_ranges = 0;
  std::uint64_t zero_bytes = 0, zero_ranges = 0;
};
inline constexpr std::size_t kMostRanges = 10000;

// Compares what both have; Error(usage) when their sizes differ. Where both tell that they are zeros, nothing
// is read. `may_be_zero`: there alone zeros of the image stand for whatever the device has.
Comparison compare(const block::Device& image, const block::Device& device, const ExtentSet& may_be_zero,
                   unsigned threads, Progress& progress, const std::stop_token& stop);

}  // namespace respaldo::verify
