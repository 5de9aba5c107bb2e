#include "restore/blob_reader.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace respaldo::restore {

namespace {

// A longer single blob goes the careful way of load_blob.
constexpr std::uint64_t kLongestStretch = 64U << 20;

std::uint64_t end_of(const repo::BlobLocation& location) {
  return std::uint64_t{location.offset} + location.length;
}

}  // namespace

bool same_stretch(const repo::BlobLocation& last, const repo::BlobLocation& next, std::uint32_t begin) {
  return last.pack == next.pack && next.offset <= end_of(last) + kReadGap &&
         end_of(next) - begin <= kReadStretch;
}

BlobReader::BlobReader(const repo::IndexedRepository& repository)
    : repository_(repository), cipher_(repository.repository().master_key()) {}

void BlobReader::read(std::span<const WantedBlob> blobs,
                      const std::function<void(std::size_t, Bytes)>& take) {
  if (blobs.empty()) return;
  const std::uint64_t begin = blobs.front().location.offset;
  Bytes stretch;
  std::uint64_t end = begin;  // foreign indexes may let blobs overlap
  for (const WantedBlob& blob : blobs) end = std::max(end, end_of(blob.location));
  const std::uint64_t length = end - begin;
  if (length <= kLongestStretch) {
    try {
      stretch = repository_.repository().backend().load(
          {store::FileType::pack, blobs.front().location.pack.hex()}, begin, length);
    } catch (const Error&) {
      // One by one: some may lie before the damage, others in a second pack.
      stretch = {};
    }
  }
  // load_blob tries every place that is known, and has the better message.
  const auto elsewhere = [&](std::size_t i) { return repository_.load_blob(repo::BlobType::data, blobs[i].id); };
  if (stretch.empty()) {
    for (std::size_t i = 0; i < blobs.size(); ++i) take(i, elsewhere(i));
    return;
  }
  std::vector<repo::Repository::Container> containers;
  containers.reserve(blobs.size());
  for (const WantedBlob& blob : blobs)
    containers.push_back({repo::BlobType::data, blob.id, blob.location,
                          stretch.view(blob.location.offset - begin, blob.location.length)});
  repository_.repository().decode_blobs(containers, cipher_,
                                        [&](std::size_t i, Bytes plain, const Error* damage) {
                                          take(i, damage == nullptr ? std::move(plain) : elsewhere(i));
                                        });
}

}  // namespace respaldo::restore
