#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "os/thread_group.h"
#include "restore/blob_reader.h"
#include "restore/image_restore.h"
#include "view/zero_blob.h"

namespace respaldo::restore {

namespace {

constexpr std::uint64_t kGroupBytes = 4 * kMiB;  // loaded by one worker in one go
constexpr std::size_t kGroupsAhead = 3;          // for each worker: bounds what waits in memory

// Chunks that follow each other: zeros, or blobs to load.
struct Group {
  std::uint64_t sequence = 0;
  std::size_t begin = 0, end = 0;  // chunk numbers
  bool zeros = false;
};

struct Loaded {
  std::uint64_t zeros = 0;
  std::vector<Bytes> plain;
};

// Deals out groups in order, not too far ahead of what was taken, and gives them back in order. Thread-safe.
class ReadAhead {
 public:
  ReadAhead(const std::vector<view::ImageChunk>& chunks, const view::ZeroBlobs& zeros, std::size_t ahead)
      : chunks_(chunks), zeros_(zeros), ahead_(ahead) {}

  // Absent at the end, or when asked to stop.
  std::optional<Group> next(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop, [&] { return dealt_ < taken_ + ahead_; })) return std::nullopt;
    if (stop.stop_requested() || chunk_ == chunks_.size()) return std::nullopt;
    Group group{dealt_++, chunk_, chunk_, zeros_.contains(chunks_[chunk_].id)};
    std::uint64_t bytes = 0;
    while (chunk_ < chunks_.size() && zeros_.contains(chunks_[chunk_].id) == group.zeros) {
      bytes += chunks_[chunk_].length;
      if (!group.zeros && bytes > kGroupBytes && chunk_ > group.begin) break;
      ++chunk_;
    }
    group.end = chunk_;
    return group;
  }

  void put(std::uint64_t sequence, Loaded loaded) {
    std::lock_guard lock(mutex_);
    ready_.emplace(sequence, std::move(loaded));
    changed_.notify_all();
  }

  // Absent when all was taken, or when asked to stop.
  std::optional<Loaded> take(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    const auto end = [&] { return chunk_ == chunks_.size() && taken_ == dealt_; };
    if (!changed_.wait(lock, stop, [&] { return end() || ready_.contains(taken_); })) return std::nullopt;
    if (stop.stop_requested() || end()) return std::nullopt;
    auto node = ready_.extract(taken_++);
    changed_.notify_all();
    return std::move(node.mapped());
  }

 private:
  const std::vector<view::ImageChunk>& chunks_;
  const view::ZeroBlobs& zeros_;
  const std::size_t ahead_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::size_t chunk_ = 0;
  std::uint64_t dealt_ = 0, taken_ = 0;
  std::map<std::uint64_t, Loaded> ready_;
};

class GroupLoader {
 public:
  GroupLoader(const repo::IndexedRepository& repository, const std::vector<view::ImageChunk>& chunks,
              const std::string& name)
      : repository_(repository), chunks_(chunks), name_(name), reader_(repository) {}

  Loaded load(const Group& group) {
    Loaded loaded;
    if (group.zeros) {
      for (std::size_t i = group.begin; i < group.end; ++i) loaded.zeros += chunks_[i].length;
      return loaded;
    }
    return in_context([&] { return fmt::format("{} near byte {}", name_, chunks_[group.begin].offset); },
                      [&] { return load_blobs(group); });
  }

 private:
  struct Piece {
    WantedBlob blob;
    std::size_t chunk = 0;
  };

  Loaded load_blobs(const Group& group) {
    std::vector<Piece> pieces;
    for (std::size_t i = group.begin; i < group.end; ++i) {
      const auto location = repository_.index().find(repo::BlobType::data, chunks_[i].id);
      if (!location)
        throw Error(ErrorKind::corrupt, fmt::format("blob {} is in no index", chunks_[i].id.short_hex()),
                    "run: respaldo check");
      pieces.push_back({{chunks_[i].id, *location}, i});
    }
    std::ranges::sort(pieces, [](const Piece& a, const Piece& b) {
      return std::tie(a.blob.location.pack, a.blob.location.offset) <
             std::tie(b.blob.location.pack, b.blob.location.offset);
    });
    Loaded loaded;
    loaded.plain.resize(pieces.size());
    for (std::size_t begin = 0; begin < pieces.size();) {
      std::vector<WantedBlob> stretch{pieces[begin].blob};
      while (begin + stretch.size() < pieces.size() &&
             same_stretch(stretch.back().location, pieces[begin + stretch.size()].blob.location,
                          stretch.front().location.offset))
        stretch.push_back(pieces[begin + stretch.size()].blob);
      reader_.read(stretch, [&](std::size_t number, Bytes plain) {
        const view::ImageChunk& chunk = chunks_[pieces[begin + number].chunk];
        if (plain.size() != chunk.length)
          throw Error(ErrorKind::corrupt,
                      fmt::format("blob {} is {} bytes long, the index says {}", chunk.id.short_hex(),
                                  plain.size(), chunk.length),
                      "run: respaldo check --read-data");
        loaded.plain[pieces[begin + number].chunk - group.begin] = std::move(plain);
      });
      begin += stretch.size();
    }
    return loaded;
  }

  const repo::IndexedRepository& repository_;
  const std::vector<view::ImageChunk>& chunks_;
  const std::string& name_;
  BlobReader reader_;
};

void deliver_zeros(std::uint64_t length, const std::function<void(ByteView)>& sink, Progress& progress,
                   const std::stop_token& stop) {
  while (length > 0 && !stop.stop_requested()) {
    const auto n = std::min<std::uint64_t>(length, view::zero_blob().size());
    sink(view::zero_blob().first(n));
    progress.advance(n);
    length -= n;
  }
}

}  // namespace

void stream_image(const repo::IndexedRepository& repository, const view::StoredVolume& volume,
                  const std::function<void(ByteView)>& sink, Progress& progress, std::stop_token stop) {
  const std::string name = printable(volume.str());
  if (!volume.has_image)
    throw Error(ErrorKind::not_found, fmt::format("this backup has no image of {}", name),
                "its files can be restored: respaldo restore --files");
  const auto chunks = view::image_chunks(repository, volume);
  const view::ZeroBlobs zeros{chunks.empty() ? 0 : chunks.back().length};
  const unsigned threads = std::max(1U, std::thread::hardware_concurrency());
  const ProgressPhase phase(progress, "read", volume.image_size);
  ReadAhead groups(chunks, zeros, threads * kGroupsAhead);
  os::ThreadGroup workers(std::move(stop));
  for (unsigned i = 0; i < threads; ++i)
    workers.spawn([&](const std::stop_token& token) {
      GroupLoader loader(repository, chunks, name);
      while (const auto group = groups.next(token)) groups.put(group->sequence, loader.load(*group));
    });
  while (const auto loaded = groups.take(workers.token())) {
    deliver_zeros(loaded->zeros, sink, progress, workers.token());
    for (const Bytes& plain : loaded->plain) {
      sink(plain);
      progress.advance(plain.size());
    }
  }
  workers.join();
}

}  // namespace respaldo::restore
