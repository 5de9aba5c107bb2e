#include "backup/image_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "view/zero_blob.h"

namespace respaldo::backup {

void ImageList::take(const StoredChunk& chunk) {
  if (chunk.offset != size_)
    throw Error(ErrorKind::internal,
                fmt::format("the chunk at byte {} should begin at byte {}", chunk.offset, size_));
  const bool zeros = chunk.length == kZeroChunk && chunk.id == view::zero_blob_id();
  for (std::uint64_t left = chunk.repeat; left > 0;) {
    if (parts_.back().size == view::kImagePartSize) {
      end_zeros();
      parts_.emplace_back();
    }
    Part& part = parts_.back();
    const std::uint64_t room = view::kImagePartSize - part.size;
    if (chunk.length == 0 || chunk.length > room)
      throw Error(ErrorKind::internal,
                  fmt::format("the chunk at byte {} is empty, or crosses the border of a part", size_));
    const std::uint64_t count = std::min(left, room / chunk.length);
    if (zeros) {
      zeros_ += count;
    } else {
      end_zeros();
      part.content.insert(part.content.end(), count, chunk.id);
    }
    part.size += count * chunk.length;
    size_ += count * chunk.length;
    left -= count;
  }
}

void ImageList::end_zeros() {
  if (zeros_ == 0) return;
  const std::uint64_t long_ones = (zeros_ - 1) / kZerosInLong;
  auto& content = parts_.back().content;
  content.insert(content.end(), zeros_ - long_ones * kZerosInLong, view::zero_blob_id());
  content.insert(content.end(), long_ones, view::long_zero_blob_id());
  has_long_zeros_ |= long_ones > 0;
  zeros_ = 0;
}

view::ImageChunk chunk_of_pass(const view::ImageChunk& blob, std::uint64_t offset) {
  if (blob.length != view::kLongZeroBlobLength || blob.id != view::long_zero_blob_id()) return blob;
  return {offset - (offset - blob.offset) % kZeroChunk, kZeroChunk, view::zero_blob_id()};
}

std::vector<ImageList::Part> ImageList::take_parts() {
  end_zeros();
  size_ = 0;
  return std::exchange(parts_, std::vector<Part>(1));
}

}  // namespace respaldo::backup
