#include "serve/stored_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "view/zero_blob.h"

namespace respaldo::serve {

namespace {

constexpr std::uint64_t kLongestAhead = 16 * kMiB, kNearby = 1 * kMiB;
constexpr std::size_t kThreadsAhead = 2, kMostWishes = 64;
// Kernels ask for several pieces at a time, in any order.
constexpr std::uint64_t kRowToReadAhead = 256 * kKiB;

// The id of `length` zeros. Hashed once for each length; absent for lengths that zeros are not cut into.
std::optional<repo::BlobId> id_of_zeros(std::uint64_t length) {
  if (length == 0 || length > 16 * kMiB) return std::nullopt;
  static std::mutex mutex;
  static std::unordered_map<std::uint64_t, repo::BlobId> known;
  std::lock_guard lock(mutex);
  if (const auto found = known.find(length); found != known.end()) return found->second;
  if (known.size() >= 1024) return std::nullopt;
  return known.emplace(length, view::zero_blob_id(static_cast<std::uint32_t>(length))).first->second;
}

}  // namespace

StoredFile::StoredFile(const repo::Index& index, const repo::Node& node, std::string name)
    : name_(std::move(name)),
      size_(std::min<std::uint64_t>(node.size, INT64_MAX)),
      ids_(node.content),
      zeros_(node.content.size()) {
  starts_.reserve(ids_.size() + 1);
  starts_.push_back(0);
  std::uint64_t length = 0;
  for (std::size_t chunk = 0; chunk < ids_.size(); ++chunk) {
    // Zeros repeat one id: no need to look it up, or to hash, each time.
    const bool again = chunk > 0 && ids_[chunk] == ids_[chunk - 1];
    if (!again) {
      const auto location = index.find(repo::BlobType::data, ids_[chunk]);
      if (!location)
        throw Error(ErrorKind::corrupt,
                    fmt::format("blob {} at byte {} is in no index", ids_[chunk].hex(), starts_.back()),
                    "run: respaldo check");
      length = location->plain_length();
    }
    starts_.push_back(starts_.back() + length);
    // Hashing zeros of every length would cost more than it saves: these are where runs of zeros are.
    if (again && zeros_[chunk - 1])
      zeros_[chunk] = true;
    else if (length == view::kZeroBlobLength || again || (chunk > 0 && zeros_[chunk - 1]) ||
             (ids_.size() > 1 && (length == kMiB || length == view::kLongZeroBlobLength)))
      zeros_[chunk] = ids_[chunk] == id_of_zeros(length);
    if (again && zeros_[chunk]) zeros_[chunk - 1] = true;
  }
}

std::size_t StoredFile::chunk_at(std::uint64_t offset) const {
  return static_cast<std::size_t>(std::ranges::upper_bound(starts_, offset) - starts_.begin()) - 1;
}

std::uint64_t StoredFile::next(std::uint64_t offset, bool zero) const {
  if (offset < content_size())
    for (std::size_t chunk = chunk_at(offset); chunk < ids_.size() && starts_[chunk] < size_; ++chunk)
      if (zeros_[chunk] == zero && length(chunk) > 0) return std::max(offset, starts_[chunk]);
  return size_;
}

std::uint64_t StoredFile::next_data(std::uint64_t offset) const {
  // What the backup does not hold is no hole: reading it fails.
  const std::uint64_t found = next(offset, false);
  return found == size_ && content_size() < size_ ? std::max(offset, content_size()) : found;
}

std::uint64_t StoredFile::next_zero(std::uint64_t offset) const { return next(offset, true); }

FileReader::FileReader(Repository repository, std::uint64_t cache_bytes)
    : repository_(std::move(repository)),
      window_(std::min(kLongestAhead, cache_bytes / 8)),
      cache_(cache_bytes) {
  for (std::size_t n = 0; n < kThreadsAhead; ++n)
    threads_.emplace_back([this](std::stop_token stop) { fulfil_wishes(std::move(stop)); });
}

FileReader::~FileReader() {
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();
}

view::BlobCache::Blob FileReader::load(const StoredFile& file, std::size_t chunk) {
  const repo::BlobId& id = file.id(chunk);
  const auto blob = cache_.get(id, [&] {
    ++loaded_;
    return repository_()->load_blob(repo::BlobType::data, id);
  });
  if (blob->size() != file.length(chunk))
    throw Error(ErrorKind::corrupt, fmt::format("blob {} is {} bytes long, the index says {}", id.short_hex(),
                                                blob->size(), file.length(chunk)));
  return blob;
}

void FileReader::read(const std::shared_ptr<StoredFile>& file, std::uint64_t offset, MutableBytes out) {
  if (out.empty()) return;
  const std::uint64_t end = offset + out.size();
  if (end > file->content_size())
    throw Error(ErrorKind::corrupt, fmt::format("{}: the backup holds {} of {} bytes",
                                                printable(file->name()), file->content_size(), file->size()));
  read_ahead(file, offset, end);
  for (std::size_t chunk = file->chunk_at(offset); !out.empty(); ++chunk) {
    const std::uint64_t skip = offset - file->start(chunk);
    const std::size_t n = std::min<std::uint64_t>(out.size(), file->length(chunk) - skip);
    if (file->is_zero(chunk)) {
      std::memset(out.data(), 0, n);
    } else if (n > 0) {
      const auto blob = in_context(
          [&] {
            return fmt::format("{}: blob {} at byte {}", printable(file->name()), file->id(chunk).hex(),
                               file->start(chunk));
          },
          [&] { return load(*file, chunk); });
      std::memcpy(out.data(), blob->data() + skip, n);
    }
    out = out.subspan(n);
    offset += n;
  }
}

// The further a reader has come in a row, the more is fetched before it asks.
void FileReader::read_ahead(const std::shared_ptr<StoredFile>& file, std::uint64_t offset,
                            std::uint64_t end) {
  const std::uint64_t last = file->read_to_.exchange(end);
  if (offset + kNearby < last || offset > last + kNearby) {
    file->in_a_row_ = 0;
    file->ahead_to_ = 0;
    return;
  }
  const std::uint64_t row = file->in_a_row_ += end - offset;
  if (row < kRowToReadAhead) return;
  const std::uint64_t until = std::min(end + std::min(row, window_), file->content_size());
  if (end >= until) return;
  std::size_t chunk = std::max(file->chunk_at(end - 1) + 1, file->ahead_to_.load());
  for (; chunk < file->chunks() && file->start(chunk) < until; ++chunk) {
    if (file->is_zero(chunk)) continue;
    std::lock_guard lock(mutex_);
    if (wishes_.size() >= kMostWishes) break;
    wishes_.push_back({file, chunk});
    wished_.notify_one();
  }
  file->ahead_to_ = chunk;
}

void FileReader::fulfil_wishes(std::stop_token stop) {
  while (!stop.stop_requested()) {
    Wish wish;
    {
      std::unique_lock lock(mutex_);
      if (!wished_.wait(lock, stop, [&] { return !wishes_.empty(); })) return;
      wish = std::move(wishes_.front());
      wishes_.pop_front();
    }
    try {
      // The reader is there already: it loads for itself.
      if (wish.file->start(wish.chunk) + wish.file->length(wish.chunk) > wish.file->read_to_)
        load(*wish.file, wish.chunk);
    } catch (...) {  // told when somebody really reads it
    }
  }
}

}  // namespace respaldo::serve
