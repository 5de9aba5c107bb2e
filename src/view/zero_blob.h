// Blobs that hold nothing but zeros, recognised by their ids: never read, never decoded.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "base/bytes.h"
#include "repo/id.h"

namespace respaldo::view {

// The length restic's own chunker gives to zero runs; its sparse restore looks for this very blob.
inline constexpr std::uint32_t kZeroBlobLength = 512U << 10;
// Long runs of zeros, so that lists of blobs stay short: no blob of restic's is longer.
inline constexpr std::uint32_t kLongZeroBlobLength = 8U << 20;

// Id of kZeroBlobLength zeros. Hashed once.
const repo::BlobId& zero_blob_id();
// Id of kLongZeroBlobLength zeros. Hashed once.
const repo::BlobId& long_zero_blob_id();
// Id of `length` zeros, up to 16 MiB.
repo::BlobId zero_blob_id(std::uint32_t length);
// kZeroBlobLength zeros that live as long as the program.
ByteView zero_blob();

// A few zero blobs by id. A value; contains() is thread-safe.
class ZeroBlobs {
 public:
  // kZeroBlobLength, 1 MiB and kLongZeroBlobLength are always known.
  explicit ZeroBlobs(std::initializer_list<std::uint32_t> further_lengths = {});
  bool contains(const repo::BlobId& id) const;

 private:
  std::vector<repo::BlobId> ids_;
};

}  // namespace respaldo::view
