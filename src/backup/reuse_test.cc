#include "backup/reuse.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <random>

#include "backup/cut_recorder.h"
#include "backup/image_list.h"
#include "backup/work_list.h"
#include "base/units.h"
#include "block/file_device.h"
#include "crypto/crypto.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "view/zero_blob.h"

namespace respaldo::backup {
namespace {

using respaldo::testing::random_bytes;

// Counts lengths only: what is stored does not matter here.
class Lengths final : public ChunkSaver {
 public:
  void save(const repo::BlobId& id, ByteView plain) override {
    const std::lock_guard lock(mutex_);
    lengths[id] = static_cast<std::uint32_t>(plain.size());
  }
  std::map<repo::BlobId, std::uint32_t> lengths;

 private:
  std::mutex mutex_;
};

struct Chunk {
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  repo::BlobId id;
  friend bool operator==(const Chunk&, const Chunk&) = default;
};

class ChunkList final : public ChunkSink {
 public:
  explicit ChunkList(ChunkSink* other = nullptr) : other_(other) {}
  void take(const StoredChunk& chunk) override {
    for (std::uint32_t i = 0; i < chunk.repeat; ++i)
      chunks.push_back({chunk.offset + std::uint64_t{i} * chunk.length, chunk.length, chunk.id});
    if (other_ != nullptr) other_->take(chunk);
  }
  std::vector<Chunk> chunks;

 private:
  ChunkSink* other_;
};

// A volume with a made-up filesystem on it: runs of files, free space, and the rest.
struct Disk {
  Bytes bytes;
  VolumeMap map;
};

constexpr std::uint64_t kBlock = 4096;

class World {
 public:
  explicit World(std::uint64_t seed)
      : random_(seed), cutter_(seed % 3), repository_(testing::memory_repository()) {
    disk_.bytes =
        random_bytes((random_() % 10 + 2) * kMiB + random_() % 100 * kBlock + random_() % 2 * 512, seed);
    for (int i = 0; i < 6; ++i) clear();
    if (seed % 10 == 1) {  // room for a long zero blob or two
      const std::uint64_t random_part = size();
      Bytes longer = Bytes::zeroed(random_part + (20 + random_() % 4) * kMiB);
      std::memcpy(longer.data() + random_() % 2 * (longer.size() - random_part), disk_.bytes.data(),
                  random_part);
      disk_.bytes = std::move(longer);
    }
    lists_ = seed % 3 == 0 ? Lists::of_old_backups : Lists::of_now;
    disk_.map = random_map();
  }

  // A full pass over the disk as it is becomes the parent.
  void save() {
    const CutPlan plan = plan_volume(device(), disk_.map);
    CutRecorder recorder(plan, !disk_.map.free.empty(), "cutter");
    ChunkList list(&recorder);
    pass(plan, list, nullptr);
    parent_ = {};
    parent_.cuts = view::CutRecord::parse(recorder.take_record().to_json());
    parent_.volume.parts.emplace_back();
    repo::PackContents pack;
    if (lists_ == Lists::of_now) {
      ImageList image;
      for (const Chunk& chunk : list.chunks) image.take({chunk.offset, chunk.length, 1, chunk.id});
      parent_.volume.parts[0] = image.take_parts().at(0).content;
      constexpr std::uint32_t kLong = view::kLongZeroBlobLength;
      pack.blobs.push_back({repo::BlobType::data, view::long_zero_blob_id(), 0, kLong + 32, 0});
      long_zeros += std::ranges::count(parent_.volume.parts[0], view::long_zero_blob_id());
    } else {
      for (const Chunk& chunk : list.chunks) parent_.volume.parts[0].push_back(chunk.id);
    }
    for (const auto& [id, length] : saver_.lengths)
      pack.blobs.push_back({repo::BlobType::data, id, 0, length + 32, 0});
    repo::Index index;
    index.add(pack);
    index.freeze();
    indexed_ = std::make_unique<repo::IndexedRepository>(*repository_, std::move(index));
  }

  // Writes, files that come and go and change their length, with or without a change of bytes.
  void change() {
    const std::uint64_t times = random_() % 6;
    for (std::uint64_t i = 0; i < times; ++i) {
      const std::uint64_t at = random_() % size(), length = std::min(random_() % 20000 + 1, size() - at);
      write({at, length});
    }
    if (random_() % 4 == 0) clear();
    if (random_() % 5 == 0) move();
    switch (random_() % 6) {
      case 0:
        disk_.map = random_map();
        break;
      case 1:
        disk_.map = {};
        break;
      case 2:
        disk_.map.free = {};
        break;
      case 3:
        drop_files();
        break;
      case 4:
        change_lengths();
        break;
      default:
        break;
    }
  }

  // The pass with the parent gives the same chunks as the one without.
  void check() {
    const CutPlan plan = plan_volume(device(), disk_.map);
    ChunkList full, reused;
    pass(plan, full, nullptr);
    const PassResult result = pass(plan, reused, &parent_);
    ASSERT_EQ(full.chunks.size(), reused.chunks.size());
    for (std::size_t i = 0; i < full.chunks.size(); ++i)
      ASSERT_EQ(full.chunks[i], reused.chunks[i])
          << "chunk " << i << " at " << full.chunks[i].offset << " and " << reused.chunks[i].offset;
    bytes_read += result.bytes_read;
    bytes_reused += result.bytes_reused;
    EXPECT_GE(WorkList(plan, *indexed_, &parent_).count_bytes_to_read() + 9 * kMiB, result.bytes_read);
  }

  std::uint64_t bytes_read = 0, bytes_reused = 0;
  std::ptrdiff_t long_zeros = 0;  // in parents

 private:
  std::uint64_t size() const { return disk_.bytes.size(); }
  block::MemoryDevice device() const { return block::MemoryDevice(disk_.bytes); }

  PassResult pass(const CutPlan& plan, ChunkSink& sink, const ParentImage* parent) {
    SilentProgress progress;
    const block::MemoryDevice source = device();
    ChunkSaver* const savers[] = {&saver_, &saver_};
    return run_pass({source, plan, "vg0/root", cutter_, OnReadError::fail, [] {}, {}, indexed_.get(), parent},
                    std::span(savers).first(1 + random_() % 2), sink, progress, {});
  }

  void write(Extent extent) {
    const Bytes noise = random_bytes(extent.length, random_());
    std::memcpy(disk_.bytes.data() + extent.offset, noise.data(), noise.size());
    tell(extent);
  }
  void clear() {
    const std::uint64_t at = random_() % (size() / kBlock) * kBlock;
    const Extent extent{at, std::min((random_() % 500 + 1) * kBlock, size() - at)};
    std::memset(disk_.bytes.data() + extent.offset, 0, extent.length);
    tell(extent);
  }
  // Bytes are shifted by a few.
  void move() {
    const std::uint64_t at = random_() % (size() - 100);
    const std::uint64_t length = std::min(random_() % (2 * kMiB) + 1, size() - at - 50);
    std::memmove(disk_.bytes.data() + at + 50, disk_.bytes.data() + at, length);
    tell({at, length + 50});
  }
  // As a base does: too much, now and then, never too little.
  void tell(Extent extent) {
    parent_.changed.add(
        intersect({extent.offset / kBlock * kBlock, extent.length + 2 * kBlock}, {0, size()}));
  }

  VolumeMap random_map() {
    VolumeMap map;
    for (std::uint64_t at = random_() % 300; at < size() / kBlock;) {
      const std::uint64_t longest = random_() % 4 == 0 ? 1200 : random_() % 3 == 0 ? 200 : 8;
      const std::uint64_t blocks = std::min(random_() % longest + 1, size() / kBlock - at);
      if (random_() % 3 != 0) {
        const auto slack = static_cast<std::uint32_t>(random_() % 2 * (random_() % kBlock));
        map.files.push_back({{at * kBlock, blocks * kBlock - slack}, random_() % 3 * kBlock * 1000, slack});
      } else if (random_() % 2 == 0) {
        map.free.add({at * kBlock, blocks * kBlock});
      }
      at += blocks + random_() % 3 * (random_() % 100);
    }
    return map;
  }
  void drop_files() {
    std::erase_if(disk_.map.files, [&](const FileRun& run) {
      if (random_() % 2 == 0) return false;
      if (random_() % 2 == 0) disk_.map.free.add({run.extent.offset, run.extent.length + run.slack});
      return true;
    });
  }
  void change_lengths() {
    for (std::size_t i = 0; i < disk_.map.files.size(); ++i) {
      FileRun& run = disk_.map.files[i];
      const std::uint64_t limit =
          i + 1 < disk_.map.files.size() ? disk_.map.files[i + 1].extent.offset : size();
      if (random_() % 2 == 0) continue;
      run.slack = 0;
      run.extent.length = random_() % 2 == 0 ? std::min(run.extent.length + random_() % 300 * kBlock,
                                                        limit - run.extent.offset)
                                             : std::max<std::uint64_t>(run.extent.length / 2, 1);
      disk_.map.free.remove(run.extent);
    }
  }

  // Earlier versions had only short zero blobs in their lists.
  enum class Lists { of_now, of_old_backups };

  std::mt19937_64 random_;
  const chunk::ContentCutter cutter_;
  std::unique_ptr<repo::Repository> repository_;
  Lengths saver_;
  Disk disk_;
  Lists lists_ = Lists::of_now;
  ParentImage parent_;
  std::unique_ptr<repo::IndexedRepository> indexed_;
};

TEST(Reuse, gives_what_a_full_backup_gives_whatever_changed) {
  std::uint64_t read = 0, reused = 0;
  std::ptrdiff_t long_zeros = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed);
    for (int night = 0; night < 3; ++night) {
      world.save();
      world.change();
      world.check();
      if (::testing::Test::HasFatalFailure()) return;
    }
    read += world.bytes_read;
    reused += world.bytes_reused;
    long_zeros += world.long_zeros;
  }
  EXPECT_GT(2 * reused, read) << "it is worth something";
  EXPECT_GT(long_zeros, 0);
}

}  // namespace
}  // namespace respaldo::backup
