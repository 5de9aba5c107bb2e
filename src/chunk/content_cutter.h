// Where data is cut by its content: FastCDC.
//
// W. Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data Deduplication",
// USENIX ATC 2016: a gear hash, a stricter mask below the wanted size and a laxer one above ("normalized
// chunking").
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace respaldo::chunk {

// Cuts depend on the bytes since the last cut and on the key alone. A value; const methods are thread-safe.
class ContentCutter {
 public:
  static constexpr std::size_t kShortest = 512U << 10, kWanted = 1U << 20, kLongest = 8U << 20;

  // `key` makes the cuts of one repository unlike those of another, so that they tell nothing about known
  // files.
  explicit ContentCutter(std::uint64_t key);

  // Length of the first chunk of `bytes`; bytes.size() when no cut lies in them. Never above kLongest.
  // `from`: no cut lies at or before it, as an earlier call with fewer bytes has seen (its size less one: a
  // cut at its very end looks like none).
  std::size_t cut(ByteView bytes, std::size_t from = 0) const;

 private:
  std::array<std::uint64_t, 256> gear_;
};

}  // namespace respaldo::chunk
