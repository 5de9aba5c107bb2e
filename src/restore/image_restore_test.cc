#include "restore/image_restore.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>

#include "base/error.h"
#include "block/file_device.h"
#include "testing/memory_repository.h"
#include "testing/temp.h"
#include "view/zero_blob.h"

namespace respaldo::restore {
namespace {

using namespace respaldo::testing;
using ::testing::HasSubstr;

// Remembers what was written to it.
class WatchedDevice final : public block::WritableDevice {
 public:
  explicit WatchedDevice(ByteView contents) : memory_(contents) {}
  std::uint64_t size() const override { return memory_.size(); }
  void read_at(std::uint64_t offset, MutableBytes out) const override {
    memory_.read_at(offset, out);
    const std::lock_guard lock(mutex_);
    looked_at.add({offset, out.size()});
  }
  std::vector<block::Run> runs(Extent range) const override {
    return {{range, holes.contains(range) ? block::RunKind::zero : block::RunKind::data}};
  }
  std::string describe() const override { return "target"; }
  void write_at(std::uint64_t offset, ByteView bytes) override {
    memory_.write_at(offset, bytes);
    const std::lock_guard lock(mutex_);
    written.add({offset, bytes.size()});
    flushed = false;
    if (on_write) on_write();
  }
  void flush() override { flushed = true; }

  ExtentSet written;
  ExtentSet holes;              // known to the device
  mutable ExtentSet looked_at;  // what was read
  bool flushed = false;
  std::function<void()> on_write;

 private:
  block::MemoryDevice memory_;
  mutable std::mutex mutex_;
};

// An image with data, zero blobs, a chunk that occurs twice, and a tail.
Bytes sample_image() {
  const std::size_t z = view::kZeroBlobLength;
  Bytes image = Bytes::zeroed(20 * z + 12345);
  const auto put = [&](std::size_t chunk, std::size_t count, std::uint64_t seed) {
    const Bytes noise = random_bytes(count * z, seed);
    std::memcpy(image.data() + chunk * z, noise.data(), noise.size());
  };
  put(0, 6, 1);
  put(9, 3, 2);
  put(15, 1, 3);
  put(17, 1, 3);  // as chunk 15
  const Bytes tail = random_bytes(12345, 4);
  std::memcpy(image.data() + 20 * z, tail.data(), tail.size());
  return image;
}

class ImageRestore : public ::testing::Test {
 protected:
  ImageRestore() : image_(sample_image()), repository_(memory_repository()) {
    store_image(*repository_, image_, {}, view::kZeroBlobLength, small_packs());
    reload();
  }
  void reload() {
    repo_ = indexed(*repository_);
    volume_ = view::stored_volumes(*repo_, repository_->snapshots().at(0).snapshot).at(0);
  }
  ImageRestoreResult restore(block::WritableDevice& target, const ImageRestoreOptions& options = {}) {
    return restore_image(*repo_, volume_, target, options, progress_, {});
  }
  bool holds_image(const block::Device& target) {
    return as_text(block::read(target, 0, image_.size())) == as_text(image_);
  }
  repo::BlobLocation location(std::size_t chunk) {
    return *repo_->index().find(repo::BlobType::data, volume_.parts.at(0).at(chunk));
  }

  SilentProgress progress_;
  Bytes image_;
  std::unique_ptr<repo::Repository> repository_;
  std::shared_ptr<const repo::IndexedRepository> repo_;
  view::StoredVolume volume_;
};

TEST_F(ImageRestore, gives_the_image_back_byte_for_byte_whatever_was_there) {
  ASSERT_GT(pack_names(*repository_).size(), 2U);
  for (const unsigned threads : {1U, 2U, 5U}) {
    WatchedDevice target(random_bytes(image_.size() + 1000, 9));
    ImageRestoreOptions options;
    options.threads = threads;
    const auto result = restore(target, options);
    EXPECT_TRUE(holds_image(target));
    EXPECT_TRUE(target.flushed);
    EXPECT_EQ(result.bytes_written + result.bytes_zero, image_.size());
    EXPECT_EQ(as_text(block::read(target, image_.size(), 1000)),
              as_text(random_bytes(image_.size() + 1000, 9).view(image_.size(), 1000)));
  }
}

TEST_F(ImageRestore, writes_no_zeros_to_a_fresh_target) {
  WatchedDevice target(Bytes::zeroed(image_.size()));
  ImageRestoreOptions options;
  options.target_reads_zero = true;
  const auto result = restore(target, options);
  EXPECT_TRUE(holds_image(target));
  EXPECT_EQ(target.written.total(), result.bytes_written);
  EXPECT_EQ(result.bytes_written, 11ULL * view::kZeroBlobLength + 12345);
  EXPECT_FALSE(target.written.intersects({6ULL * view::kZeroBlobLength, 3ULL * view::kZeroBlobLength}));
}

TEST_F(ImageRestore, leaves_holes_inside_chunks_of_a_fresh_target) {
  const auto repository = memory_repository();
  image_ = Bytes::zeroed(1U << 20);
  image_.data()[700000] = 1;
  store_image(*repository, image_, {}, 1U << 20);
  repository_ = nullptr;
  const auto repo = indexed(*repository);
  const auto volume = view::stored_volumes(*repo, repository->snapshots().at(0).snapshot).at(0);
  WatchedDevice target(Bytes::zeroed(image_.size()));
  ImageRestoreOptions options;
  options.target_reads_zero = true;
  restore_image(*repo, volume, target, options, progress_, {});
  EXPECT_TRUE(holds_image(target));
  EXPECT_EQ(target.written.total(), 64U << 10);
}

TEST_F(ImageRestore, in_place_writes_only_what_differs) {
  Bytes old = image_.clone();
  old.data()[100] ^= 1;                             // data chunk 0
  old.data()[7 * view::kZeroBlobLength + 5] = 1;    // zero chunk 7
  old.data()[17 * view::kZeroBlobLength + 5] ^= 1;  // the second copy of chunk 15
  WatchedDevice target(old);
  ImageRestoreOptions options;
  options.in_place = true;
  const auto result = restore(target, options);
  EXPECT_TRUE(holds_image(target));
  EXPECT_EQ(target.written, (ExtentSet{{0, view::kZeroBlobLength},
                                       {7ULL * view::kZeroBlobLength, view::kZeroBlobLength},
                                       {17ULL * view::kZeroBlobLength, view::kZeroBlobLength}}));
  EXPECT_EQ(result.bytes_unchanged, image_.size() - 3 * view::kZeroBlobLength);

  target.written = {};
  EXPECT_EQ(restore(target, options).bytes_unchanged, image_.size());
  EXPECT_TRUE(target.written.empty());
}

TEST_F(ImageRestore, in_place_holes_are_not_read_where_zeros_belong) {
  Bytes old = image_.clone();
  const Extent hole{6ULL * view::kZeroBlobLength, 3ULL * view::kZeroBlobLength};  // as the image
  const Extent missing{view::kZeroBlobLength, view::kZeroBlobLength};             // of data
  std::memset(old.data() + missing.offset, 0, missing.length);
  WatchedDevice target(old);
  target.holes = {missing, hole};
  ImageRestoreOptions options;
  options.in_place = true;
  const auto result = restore(target, options);
  EXPECT_FALSE(target.looked_at.intersects(hole));
  EXPECT_EQ(target.looked_at.total(), image_.size() - hole.length);
  EXPECT_EQ(target.written, ExtentSet{missing});
  EXPECT_EQ(result.bytes_unchanged, image_.size() - missing.length);
  EXPECT_TRUE(holds_image(target));
}

TEST_F(ImageRestore, refuses_a_target_that_is_too_small_before_it_writes) {
  WatchedDevice target(Bytes::zeroed(image_.size() - 1));
  try {
    restore(target);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::no_space);
  }
  EXPECT_TRUE(target.written.empty());
}

TEST_F(ImageRestore, a_flipped_byte_is_never_written) {
  const auto where = location(9);
  flip(*repository_, {store::FileType::pack, where.pack.hex()}, where.offset + where.length / 2);
  WatchedDevice target(Bytes::zeroed(image_.size()));
  try {
    restore(target);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_THAT(error.what(), HasSubstr("vg0/root at byte 4718592"));
  }
  EXPECT_FALSE(target.written.intersects({9ULL * view::kZeroBlobLength, view::kZeroBlobLength}));
  EXPECT_FALSE(target.flushed);
}

TEST_F(ImageRestore, a_missing_pack_is_an_error) {
  repository_->backend().remove({store::FileType::pack, location(0).pack.hex()});
  WatchedDevice target(Bytes::zeroed(image_.size()));
  EXPECT_THROW(restore(target), Error);
}

TEST_F(ImageRestore, a_damaged_blob_is_taken_from_another_pack_that_holds_it) {
  // A second copy: written by a run that did not know the first.
  const auto where = location(9);
  {
    const auto blind = std::make_shared<repo::IndexedRepository>(*repository_, [] {
      repo::Index index;
      index.freeze();
      return index;
    }());
    repo::BlobWriter writer(*blind, {});
    const auto lane = writer.open_lane();
    lane->save(repo::BlobType::data, image_.view(9 * view::kZeroBlobLength, view::kZeroBlobLength));
    lane->close();
    writer.finish();
  }
  reload();
  ASSERT_EQ(repo_->index().find_all(repo::BlobType::data, volume_.parts[0][9]).size(), 2U);
  flip(*repository_, {store::FileType::pack, where.pack.hex()}, where.offset + where.length / 2);
  WatchedDevice target(Bytes::zeroed(image_.size()));
  restore(target);
  EXPECT_TRUE(holds_image(target));
}

TEST_F(ImageRestore, stops_when_asked) {
  std::stop_source stop;
  WatchedDevice target(random_bytes(image_.size(), 9));
  target.on_write = [&] { stop.request_stop(); };
  EXPECT_THROW(restore_image(*repo_, volume_, target, {}, progress_, stop.get_token()), Cancelled);
  EXPECT_FALSE(target.flushed);
}

TEST_F(ImageRestore, a_target_that_fails_ends_it) {
  WatchedDevice target(random_bytes(image_.size(), 9));
  target.on_write = [] { throw Error(ErrorKind::io, "the disk is dead"); };
  EXPECT_THROW(restore(target), Error);
}

TEST_F(ImageRestore, streams_the_image_in_order) {
  std::string all;
  stream_image(*repo_, volume_, [&](ByteView bytes) { all += as_text(bytes); }, progress_, {});
  EXPECT_TRUE(all == as_text(image_));
}

TEST_F(ImageRestore, a_stream_ends_before_the_damage) {
  const auto where = location(9);
  flip(*repository_, {store::FileType::pack, where.pack.hex()}, where.offset + where.length / 2);
  std::string all;
  EXPECT_THROW(stream_image(*repo_, volume_, [&](ByteView bytes) { all += as_text(bytes); }, progress_, {}),
               Error);
  EXPECT_LE(all.size(), 9U * view::kZeroBlobLength);
  EXPECT_TRUE(as_text(image_).starts_with(all));
}

TEST_F(ImageRestore, a_stream_ends_with_its_sink_and_when_asked) {
  EXPECT_THROW(stream_image(*repo_, volume_, [](ByteView) { throw Error(ErrorKind::io, "broken pipe"); },
                            progress_, {}),
               Error);
  std::stop_source stop;
  EXPECT_THROW(stream_image(
                   *repo_, volume_, [&](ByteView) { stop.request_stop(); }, progress_, stop.get_token()),
               Cancelled);
}

TEST_F(ImageRestore, an_empty_image_is_restored_and_streamed) {
  const auto repository = memory_repository();
  store_image(*repository, {});
  const auto repo = indexed(*repository);
  const auto volume = view::stored_volumes(*repo, repository->snapshots().at(0).snapshot).at(0);
  block::MemoryDevice target(std::uint64_t{0});
  EXPECT_EQ(restore_image(*repo, volume, target, {}, progress_, {}).bytes_written, 0U);
  stream_image(*repo, volume, [](ByteView) { FAIL(); }, progress_, {});
}

}  // namespace
}  // namespace respaldo::restore
