// Blobs out of packs, several in one reading.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/bytes.h"
#include "crypto/crypto.h"
#include "repo/repository.h"

namespace respaldo::restore {

struct WantedBlob {
  repo::BlobId id;
  repo::BlobLocation location;
};

inline constexpr std::uint64_t kReadStretch = 16U << 20;  // bytes of a pack read in one go
inline constexpr std::uint64_t kReadGap = 256U
                                          << 10;  // unwanted bytes that are read along rather than skipped

// True when `next` (not before `last` in the pack) is worth reading together with what began at `begin`.
bool same_stretch(const repo::BlobLocation& last, const repo::BlobLocation& next, std::uint32_t begin);

// Reads data blobs, each verified. One object for each thread; the repository must outlive it.
class BlobReader {
 public:
  explicit BlobReader(const repo::IndexedRepository& repository);
  // `blobs`: of one pack, by offset, in one stretch. `take` gets each one's number and plain bytes, in order.
  // A blob that is damaged here is looked for in other packs before Error(corrupt or not_found) is thrown.
  void read(std::span<const WantedBlob> blobs, const std::function<void(std::size_t, Bytes)>& take);

 private:
  const repo::IndexedRepository& repository_;
  crypto::Cipher cipher_;
};

}  // namespace respaldo::restore
