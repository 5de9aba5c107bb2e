#include "backup/image_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/endian.h"
#include "base/error.h"
#include "view/zero_blob.h"

namespace respaldo::backup {

void ImageList::take(const StoredChunk& chunk) {
  if (chunk.offset != size_)
    throw Error(ErrorKind::internal,
                fmt::format("the chunk at byte {} should begin at byte {}", chunk.offset, size_));
  const bool zeros = chunk.length == kZeroChunk && chunk.id == view::zero_blob_id();
  for (std::uint64_t left = chunk.repeat; left > 0;) {
    if (last_is_full_ || (size_ > 0 && size_ % view::kImagePartSize == 0)) {
      end_zeros();
      parts_.emplace_back();
      last_is_full_ = false;
    }
    Part& part = parts_.back();
    const std::uint64_t room = view::kImagePartSize - size_ % view::kImagePartSize;
    if (chunk.length == 0 || chunk.length > room)
      throw Error(ErrorKind::internal,
                  fmt::format("the chunk at byte {} is empty, or crosses the border of a part", size_));
    const std::uint64_t count = std::min(left, room / chunk.length);
    if (zeros) {
      zeros_ += count;
    } else {
      end_zeros();
      part.content.insert(part.content.end(), count, chunk.id);
      last_is_full_ = is_full(part);  // never within a run of zeros
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

bool ImageList::is_full(const Part& part) const {
  const std::size_t ids = part.content.size();
  return ids >= limits_.most_part_ids ||
         (ids >= limits_.least_part_ids &&
          load_le32(part.content.back().bytes.data()) % limits_.least_part_ids == 0);
}

// One for each view::kImagePartSize.
void ImageList::join_parts() {
  std::vector<Part> joined;
  for (Part& part : parts_) {
    if (joined.empty() || joined.back().size == view::kImagePartSize) {
      joined.push_back(std::move(part));
      continue;
    }
    Part& last = joined.back();
    last.size += part.size;
    last.content.insert(last.content.end(), part.content.begin(), part.content.end());
  }
  parts_ = std::move(joined);
}

std::vector<ImageList::Part> ImageList::take_parts() {
  end_zeros();
  std::size_t ids = 0;
  for (const Part& part : parts_) ids += part.content.size();
  is_long_ = ids > limits_.image_ids;
  if (!is_long_) join_parts();
  size_ = 0;
  last_is_full_ = false;
  return std::exchange(parts_, std::vector<Part>(1));
}

}  // namespace respaldo::backup
