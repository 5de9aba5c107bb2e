#include "backup/image_list.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"

namespace respaldo::backup {

void ImageList::take(const StoredChunk& chunk) {
  if (chunk.offset != size_)
    throw Error(ErrorKind::internal,
                fmt::format("the chunk at byte {} should begin at byte {}", chunk.offset, size_));
  for (std::uint32_t left = chunk.repeat; left > 0; --left) {
    if (parts_.back().size == view::kImagePartSize) parts_.emplace_back();
    Part& part = parts_.back();
    if (chunk.length > view::kImagePartSize - part.size)
      throw Error(ErrorKind::internal,
                  fmt::format("the chunk at byte {} crosses the border of a part", size_));
    part.content.push_back(chunk.id);
    part.size += chunk.length;
    size_ += chunk.length;
  }
}

std::vector<ImageList::Part> ImageList::take_parts() {
  size_ = 0;
  return std::exchange(parts_, std::vector<Part>(1));
}

}  // namespace respaldo::backup
