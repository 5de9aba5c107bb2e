#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "view/blob_cache.h"
#include "view/volume_view.h"
#include "view/zero_blob.h"

namespace respaldo::view {

namespace {

constexpr std::uint64_t kCacheBytes = 64U << 20;

class ImageDevice final : public block::Device {
 public:
  ImageDevice(std::shared_ptr<const repo::IndexedRepository> repository, const StoredVolume& volume)
      : repository_(std::move(repository)),
        name_(printable(volume.str())),
        size_(volume.image_size),
        chunks_(image_chunks(*repository_, volume)),
        zeros_{chunks_.empty() ? 0 : chunks_.back().length},
        cache_(kCacheBytes) {}

  std::uint64_t size() const override { return size_; }
  std::string describe() const override { return name_; }

  void read_at(std::uint64_t offset, MutableBytes out) const override {
    block::require_within(*this, offset, out.size());
    if (out.empty()) return;
    for (auto chunk = chunk_at(offset); !out.empty(); ++chunk) {
      const std::uint64_t skip = offset - chunk->offset;
      const std::size_t n = std::min<std::uint64_t>(out.size(), chunk->length - skip);
      if (zeros_.contains(chunk->id)) {
        std::memset(out.data(), 0, n);
      } else {
        const BlobCache::Blob blob = load(*chunk);
        std::memcpy(out.data(), blob->data() + skip, n);
      }
      out = out.subspan(n);
      offset += n;
    }
  }

  std::vector<block::Run> runs(Extent range) const override {
    std::vector<block::Run> runs;
    const Extent inside = intersect(range, {0, size_});
    if (inside.empty()) return runs;
    for (auto chunk = chunk_at(inside.offset); chunk != chunks_.end() && chunk->offset < inside.end();
         ++chunk)
      block::append_run(runs, {intersect({chunk->offset, chunk->length}, inside),
                               zeros_.contains(chunk->id) ? block::RunKind::zero : block::RunKind::data});
    return runs;
  }

 private:
  // REQUIRES offset < size_.
  std::vector<ImageChunk>::const_iterator chunk_at(std::uint64_t offset) const {
    return std::ranges::upper_bound(chunks_, offset, {}, &ImageChunk::offset) - 1;
  }

  BlobCache::Blob load(const ImageChunk& chunk) const {
    return in_context([&] { return fmt::format("{} at byte {}", name_, chunk.offset); },
                      [&] {
                        return cache_.get(chunk.id, [&] {
                          Bytes bytes = repository_->load_blob(repo::BlobType::data, chunk.id);
                          if (bytes.size() != chunk.length)
                            throw Error(ErrorKind::corrupt,
                                        fmt::format("blob {} is {} bytes long, the index says {}",
                                                    chunk.id.short_hex(), bytes.size(), chunk.length),
                                        "run: respaldo check --read-data");
                          return bytes;
                        });
                      });
  }

  const std::shared_ptr<const repo::IndexedRepository> repository_;
  const std::string name_;
  const std::uint64_t size_;
  const std::vector<ImageChunk> chunks_;
  const ZeroBlobs zeros_;
  mutable BlobCache cache_;
};

}  // namespace

block::DevicePtr open_image(std::shared_ptr<const repo::IndexedRepository> repository,
                            const StoredVolume& volume) {
  if (!volume.has_image)
    throw Error(ErrorKind::not_found, fmt::format("this backup has no image of {}", printable(volume.str())),
                "its files can be restored: respaldo restore --files");
  return std::make_shared<ImageDevice>(std::move(repository), volume);
}

}  // namespace respaldo::view
