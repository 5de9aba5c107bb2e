#include "view/zero_blob.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/units.h"
#include "crypto/crypto.h"

namespace respaldo::view {

namespace {

// In .bss: costs nothing until it is read.
alignas(4096) constinit std::array<std::uint8_t, kZeroBlobLength> zeros{};

}  // namespace

ByteView zero_blob() { return zeros; }

const repo::BlobId& zero_blob_id() {
  static const repo::BlobId id{crypto::sha256(zeros)};
  return id;
}

const repo::BlobId& long_zero_blob_id() {
  static const repo::BlobId id = zero_blob_id(kLongZeroBlobLength);
  return id;
}

repo::BlobId zero_blob_id(std::uint32_t length) {
  if (length > 16 * kMiB) throw Error(ErrorKind::internal, "zero blobs end at 16 MiB");
  crypto::Sha256 hash;
  for (std::uint32_t left = length; left > 0;) {
    const std::uint32_t n = std::min(left, kZeroBlobLength);
    hash.update(zero_blob().first(n));
    left -= n;
  }
  return {hash.finish()};
}

ZeroBlobs::ZeroBlobs(std::initializer_list<std::uint32_t> further_lengths) {
  ids_.push_back(zero_blob_id());
  ids_.push_back(zero_blob_id(kMiB));
  ids_.push_back(long_zero_blob_id());
  for (const std::uint32_t length : further_lengths)
    if (length > 0 && length <= 16 * kMiB) ids_.push_back(zero_blob_id(length));
}

bool ZeroBlobs::contains(const repo::BlobId& id) const { return std::ranges::find(ids_, id) != ids_.end(); }

}  // namespace respaldo::view
