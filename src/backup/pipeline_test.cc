#include "backup/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "backup/chunk_map.h"
#include "backup/cutter.h"
#include "backup/fake_engine_test.h"
#include "backup/image_list.h"
#include "backup/work_list.h"
#include "base/units.h"
#include "block/file_device.h"
#include "block/layers.h"
#include "crypto/crypto.h"
#include "testing/temp.h"
#include "view/zero_blob.h"

namespace respaldo::backup {
namespace {

using respaldo::testing::random_bytes;
const chunk::ContentCutter kCutter(1);
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Keeps blobs, and each saver's share of them.
class Blobs {
 public:
  explicit Blobs(unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      savers_.push_back(std::make_unique<Saver>(*this));
      pointers_.push_back(savers_.back().get());
    }
  }
  std::span<ChunkSaver* const> savers() const { return pointers_; }
  const Bytes& at(const repo::BlobId& id) const { return blobs_.at(id); }
  std::size_t count() const { return blobs_.size(); }

 private:
  struct Saver final : ChunkSaver {
    explicit Saver(Blobs& blobs) : all(blobs) {}
    void save(const repo::BlobId& id, ByteView plain) override {
      ASSERT_EQ(crypto::sha256(plain), id.bytes);
      const std::lock_guard lock(all.mutex_);
      all.blobs_.try_emplace(id, Bytes::copy_of(plain));
    }
    Blobs& all;
  };
  std::mutex mutex_;
  std::map<repo::BlobId, Bytes> blobs_;
  std::vector<std::unique_ptr<Saver>> savers_;
  std::vector<ChunkSaver*> pointers_;
};

struct Passed {
  PassResult result;
  std::vector<repo::BlobId> content;
};

Passed pass(
    const block::Device& device, Blobs& blobs, OnReadError on_error = OnReadError::fail,
    std::function<void()> require_valid = [] {}, std::stop_token stop = {}) {
  const CutPlan plan = plan_image(device);
  ImageList list;
  SilentProgress progress;
  Passed passed;
  passed.result = run_pass({device, plan, "vg0/root", kCutter, on_error, std::move(require_valid)},
                           blobs.savers(), list, progress, stop);
  EXPECT_EQ(list.size(), device.size());
  for (const auto& part : list.take_parts())
    passed.content.insert(passed.content.end(), part.content.begin(), part.content.end());
  return passed;
}

Bytes joined(const Passed& passed, const Blobs& blobs, std::size_t size) {
  Bytes all(size);
  std::size_t at = 0;
  const Bytes long_zeros = Bytes::zeroed(view::kLongZeroBlobLength);  // the lists' own: no pass saves them
  for (const repo::BlobId& id : passed.content) {
    const Bytes& blob = id == view::long_zero_blob_id() ? long_zeros : blobs.at(id);
    std::memcpy(all.data() + at, blob.data(), blob.size());
    at += blob.size();
  }
  EXPECT_EQ(at, size);
  return all;
}

// 41 MiB and a bit: noise, zeros of odd lengths, a tail.
Bytes patchwork() {
  Bytes bytes = random_bytes(41 * kMiB + 777, 1);
  const auto clear = [&](std::uint64_t from, std::uint64_t to) {
    std::memset(bytes.data() + from, 0, to - from);
  };
  clear(3 * kMiB + 5000, 9 * kMiB + 100);
  clear(12 * kMiB + 512 * kKiB, 13 * kMiB);
  clear(15 * kMiB, 15 * kMiB + 512 * kKiB);
  clear(20 * kMiB, 40 * kMiB);
  clear(41 * kMiB, 41 * kMiB + 700);
  return bytes;
}

TEST(Pass, the_chunks_put_together_are_the_volume) {
  const Bytes bytes = patchwork();
  for (const unsigned threads : {1U, 2U, 5U}) {
    Blobs blobs(threads);
    const Passed passed = pass(block::MemoryDevice(bytes), blobs);
    EXPECT_TRUE(as_text(joined(passed, blobs, bytes.size())) == as_text(bytes)) << threads;
    EXPECT_EQ(passed.result.bytes_read, bytes.size());
    EXPECT_GE(passed.result.bytes_zero, 25 * kMiB);
    EXPECT_THAT(passed.result.lost, IsEmpty());
  }
}

TEST(Pass, cuts_do_not_depend_on_what_the_device_knows_of_its_holes) {
  const Bytes bytes = patchwork();
  std::map<std::uint64_t, Bytes> islands;
  for (const auto& [from, to] :
       std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0, 3 * kMiB + 6000},
                                                            {9 * kMiB, 12 * kMiB + 512 * kKiB},
                                                            {13 * kMiB, 20 * kMiB + 1},
                                                            {40 * kMiB, bytes.size()}})
    islands.emplace(from, Bytes::copy_of(bytes.view(from, to - from)));
  const SparseDevice knowing(bytes.size(), std::move(islands));
  Blobs a(2), b(3);
  const Passed known = pass(knowing, a), unknown = pass(block::MemoryDevice(bytes), b);
  EXPECT_LT(known.result.bytes_read, 20 * kMiB);
  EXPECT_EQ(known.content, unknown.content);
  EXPECT_EQ(known.result.bytes_zero, unknown.result.bytes_zero);
}

TEST(Pass, a_hole_costs_nothing_however_large) {
  std::map<std::uint64_t, Bytes> islands;
  islands.emplace(3 * kTiB, random_bytes(4096, 1));
  const SparseDevice device(3 * kTiB + 4096, std::move(islands));
  const CutPlan plan = plan_image(device);
  EXPECT_EQ(plan.bytes_to_read(), 4096U);
  EXPECT_EQ(plan.spans.size(), 3 * kTiB / view::kImagePartSize + 1);
}

TEST(Pass, an_empty_volume_has_no_chunks) {
  Blobs blobs(2);
  EXPECT_THAT(pass(block::MemoryDevice(std::uint64_t{0}), blobs).content, IsEmpty());
  EXPECT_EQ(blobs.count(), 0U);
}

block::DevicePtr bad_sectors(const Bytes& bytes, ExtentSet bad) {
  return block::faulty(std::make_shared<block::MemoryDevice>(bytes), [bad = std::move(bad)](Extent range) {
    if (bad.intersects(range)) throw Error(ErrorKind::io, "Input/output error");
  });
}

TEST(Pass, a_read_error_ends_it_and_names_volume_and_byte) {
  const Bytes bytes = random_bytes(20 * kMiB, 1);
  Blobs blobs(2);
  try {
    pass(*bad_sectors(bytes, {{9 * kMiB + 512, 1}}), blobs);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_THAT(error.what(), HasSubstr("vg0/root cannot be read at byte 9437184"));
    EXPECT_THAT(error.hint(), HasSubstr("--on-read-error=skip"));
  }
}

TEST(Pass, lost_ranges_become_zeros_and_are_told_in_order) {
  Bytes bytes = random_bytes(30 * kMiB, 1);
  Blobs blobs(3);
  const auto device = bad_sectors(bytes, {{9 * kMiB + 512, 1}, {9 * kMiB + 4096, 10}, {25 * kMiB - 1, 2}});
  const Passed passed = pass(*device, blobs, OnReadError::skip);
  ASSERT_EQ(passed.result.lost.size(), 2U);
  EXPECT_EQ(passed.result.lost[0].extent, (Extent{9 * kMiB, 8192}));
  EXPECT_EQ(passed.result.lost[1].extent, (Extent{25 * kMiB - 4096, 8192}));
  EXPECT_THAT(passed.result.lost[0].why, HasSubstr("Input/output error"));
  for (const auto& range : passed.result.lost)
    std::memset(bytes.data() + range.extent.offset, 0, range.extent.length);
  EXPECT_TRUE(as_text(joined(passed, blobs, bytes.size())) == as_text(bytes));
}

TEST(Pass, a_read_error_that_goes_away_is_none) {
  const Bytes bytes = random_bytes(kMiB, 1);
  std::atomic<int> reads = 0;
  const auto device = block::faulty(std::make_shared<block::MemoryDevice>(bytes), [&](Extent) {
    if (reads++ == 0) throw Error(ErrorKind::io, "once");
  });
  Blobs blobs(1);
  const Passed passed = pass(*device, blobs);
  EXPECT_THAT(passed.result.lost, IsEmpty());
  EXPECT_TRUE(as_text(joined(passed, blobs, bytes.size())) == as_text(bytes));
}

TEST(Pass, a_dead_snapshot_is_no_read_error) {
  const Bytes bytes = random_bytes(kMiB, 1);
  Blobs blobs(1);
  try {
    pass(*bad_sectors(bytes, {{0, kMiB}}), blobs, OnReadError::skip,
         [] { throw Error(ErrorKind::overflow, "the snapshot died"); });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::overflow);
  }
}

TEST(Pass, validity_is_asked_after_the_last_byte) {
  const Bytes bytes = random_bytes(20 * kMiB, 1);
  std::atomic<std::uint64_t> read = 0;
  std::uint64_t read_when_asked_last = 0;
  const auto device = block::faulty(std::make_shared<block::MemoryDevice>(bytes),
                                    [&](Extent range) { read += range.length; });
  Blobs blobs(2);
  pass(*device, blobs, OnReadError::fail, [&] { read_when_asked_last = read; });
  EXPECT_EQ(read_when_asked_last, bytes.size());
}

TEST(Pass, who_looks_whether_the_snapshot_lives_keeps_nobody_else_waiting) {
  const Bytes bytes = random_bytes(64 * kMiB, 3);
  std::atomic<int> reads = 0;
  const auto device = block::faulty(std::make_shared<block::MemoryDevice>(bytes), [&](Extent) { ++reads; });
  Blobs blobs(2);
  int looks = 0, alone = 0;
  pass(*device, blobs, OnReadError::fail, [&] {
    if (looks++ != 0) return;
    const int before = reads;
    for (int i = 0; i < 2000 && reads < before + 8; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    alone += reads < before + 8;
  });
  EXPECT_GE(looks, 2);
  EXPECT_EQ(alone, 0);
}

TEST(Pass, stops_when_asked) {
  std::stop_source stop;
  std::atomic<int> reads = 0;
  const auto device = block::faulty(std::make_shared<block::MemoryDevice>(100 * kMiB), [&](Extent) {
    if (reads++ == 2) stop.request_stop();
  });
  Blobs blobs(2);
  EXPECT_THROW(pass(
                   *device, blobs, OnReadError::fail, [] {}, stop.get_token()),
               Cancelled);
  EXPECT_LT(reads, 8);
}

TEST(CutPlan, rejects_spans_that_do_not_tile) {
  const auto plan = [](std::uint64_t size, std::vector<Span> spans) {
    return CutPlan{size, std::move(spans)};
  };
  EXPECT_NO_THROW(require_tiling(plan(10, {{{0, 4}}, {{4, 6}}})));
  EXPECT_THROW(require_tiling(plan(10, {{{0, 4}}, {{5, 5}}})), Error);
  EXPECT_THROW(require_tiling(plan(10, {{{0, 9}}})), Error);
  EXPECT_THROW(require_tiling(plan(10, {{{0, 10}}, {{10, 0}}})), Error);
  EXPECT_THROW(require_tiling(plan(65 * kGiB, {{{0, 65 * kGiB}}})), Error);
  EXPECT_THROW(require_tiling(plan(9 * kMiB, {{{0, 9 * kMiB}, SpanKind::read, CutKind::whole}})), Error);
}

TEST(CutPlan, zero_spans_are_whole_aligned_zero_chunks) {
  std::map<std::uint64_t, Bytes> islands;
  islands.emplace(100, Bytes::zeroed(10));
  islands.emplace(3 * kMiB - 1, Bytes::zeroed(2));
  const CutPlan plan = plan_image(SparseDevice(4 * kMiB + 5, std::move(islands)));
  EXPECT_THAT(plan.spans, ElementsAre(Span{{0, 512 * kKiB}}, Span{{512 * kKiB, 2 * kMiB}, SpanKind::zero},
                                      Span{{2560 * kKiB, kMiB}},
                                      Span{{3584 * kKiB, 512 * kKiB}, SpanKind::zero}, Span{{4 * kMiB, 5}}));
}

TEST(CutPlan, files_have_spans_of_their_own_between_metadata_and_free_space) {
  const block::MemoryDevice device(Bytes::zeroed(100 * kMiB));
  VolumeMap map;
  map.files.push_back({{kMiB, 5000}, 0, 3192, 0, 1});
  map.files.push_back({{kMiB + 8192, 40 * kMiB}, 30 * kMiB, 0, 0, 2});
  map.free.add({60 * kMiB, 12345});
  map.free.add({80 * kMiB, 20 * kMiB});
  const CutPlan plan = plan_volume(device, map);
  const std::uint64_t long_file = kMiB + 8192;
  EXPECT_THAT(
      plan.spans,
      ElementsAre(Span{{0, kMiB}}, Span{{kMiB, 5000}, SpanKind::read, CutKind::whole},
                  Span{{kMiB + 5000, 3192}, SpanKind::read, CutKind::whole},
                  // divided at 32 MiB of the file
                  Span{{long_file, 2 * kMiB}, SpanKind::read, CutKind::content},
                  Span{{long_file + 2 * kMiB, 32 * kMiB}, SpanKind::read, CutKind::content},
                  Span{{long_file + 34 * kMiB, 6 * kMiB}, SpanKind::read, CutKind::content},
                  Span{{long_file + 40 * kMiB, 19 * kMiB - 8192}}, Span{{60 * kMiB, 12345}, SpanKind::zero},
                  Span{{60 * kMiB + 12345, 20 * kMiB - 12345}},
                  Span{{80 * kMiB, 20 * kMiB}, SpanKind::zero}));
}

TEST(Pass, free_space_of_any_length_becomes_zero_blobs) {
  const Bytes bytes = random_bytes(8 * kMiB, 5);
  const block::MemoryDevice device(bytes);
  VolumeMap map;
  map.free.add({kMiB, 700'000});
  map.free.add({3 * kMiB, 1000});
  Blobs blobs(2);
  ImageList list;
  SilentProgress progress;
  const CutPlan plan = plan_volume(device, map);
  const PassResult result = run_pass({device, plan, "vg0/root", kCutter, OnReadError::fail, [] {}},
                                     blobs.savers(), list, progress, {});
  EXPECT_EQ(result.bytes_zero, 701'000U);
  Passed passed;
  passed.content = list.take_parts().at(0).content;
  Bytes expected = bytes.clone();
  std::memset(expected.data() + kMiB, 0, 700'000);
  std::memset(expected.data() + 3 * kMiB, 0, 1000);
  EXPECT_TRUE(as_text(joined(passed, blobs, bytes.size())) == as_text(expected));
}

// Whatever the pieces in which it is read, a file is cut alike.
TEST(Pass, files_are_cut_by_content_wherever_they_lie) {
  const Bytes file = random_bytes(20 * kMiB, 6);
  std::vector<std::vector<repo::BlobId>> contents;
  for (const std::uint64_t place : {std::uint64_t{4096}, 3 * kMiB + 12288}) {
    Bytes bytes = random_bytes(30 * kMiB, place);
    std::memcpy(bytes.data() + place, file.data(), file.size());
    const block::MemoryDevice device(bytes);
    VolumeMap map;
    map.files.push_back({{place, file.size()}, 0, 0, 0, 1});
    Blobs blobs(2);
    ChunkMap chunks(map.files);
    SilentProgress progress;
    const CutPlan plan = plan_volume(device, map);
    run_pass({device, plan, "vg0/root", kCutter, OnReadError::fail, [] {}}, blobs.savers(), chunks, progress,
             {});
    contents.emplace_back();
    ASSERT_TRUE(chunks.append({place, file.size()}, contents.back()));
    std::vector<repo::BlobId> none;
    EXPECT_FALSE(chunks.append({place + 1, 10}, none));
    EXPECT_FALSE(chunks.append({0, 10}, none));
    EXPECT_TRUE(none.empty());
  }
  EXPECT_GT(contents[0].size(), 8U);
  EXPECT_EQ(contents[0], contents[1]);
}

// The seam for plans that know of files: own cuts between fixed ones.
TEST(Pass, plans_may_mix_whole_and_fixed_spans) {
  const Bytes bytes = random_bytes(20 * kMiB, 3);
  const block::MemoryDevice device(bytes);
  CutPlan plan;
  plan.size = bytes.size();
  std::uint64_t at = 0;
  const auto add = [&](std::uint64_t length, CutKind cut) {
    plan.spans.push_back({{at, length}, SpanKind::read, cut});
    at += length;
  };
  add(4096, CutKind::whole);
  add(3 * kMiB, CutKind::fixed);
  add(8 * kMiB, CutKind::whole);
  add(12288, CutKind::whole);
  add(bytes.size() - at, CutKind::fixed);
  Blobs blobs(2);
  ImageList list;
  SilentProgress progress;
  run_pass({device, plan, "vg0/root", kCutter, OnReadError::fail, [] {}}, blobs.savers(), list, progress, {});
  Passed passed;
  passed.content = list.take_parts().at(0).content;
  EXPECT_TRUE(as_text(joined(passed, blobs, bytes.size())) == as_text(bytes));
  EXPECT_EQ(blobs.at(passed.content[0]).size(), 4096U);
  EXPECT_EQ(blobs.at(passed.content[5]).size(), 8 * kMiB);
}

TEST(ImageList, a_part_ends_at_its_border) {
  ImageList list;
  const auto zeros = view::zero_blob_id();
  const auto per_part = static_cast<std::uint32_t>(view::kImagePartSize / kZeroChunk);
  list.take({0, kZeroChunk, per_part - 1, zeros});
  list.take({(per_part - 1) * kZeroChunk, kZeroChunk, 3, zeros});
  const auto parts = list.take_parts();
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[0].size, view::kImagePartSize);
  // 16 short ones, then long ones up to the border.
  EXPECT_EQ(parts[0].content.size(), per_part / kZerosInLong - 1 + kZerosInLong);
  EXPECT_EQ(parts[1].size, 2 * kZeroChunk);
  EXPECT_EQ(parts[1].content, std::vector(2, zeros));
}

TEST(ImageList, a_long_one_has_parts_that_a_new_chunk_does_not_move) {
  const TreeLimits limits{.image_ids = 2000, .least_part_ids = 64, .most_part_ids = 256};
  std::vector<StoredChunk> chunks;
  for (std::uint64_t i = 0; i < 2100; ++i) {
    chunks.push_back({0, 4096, 1, {crypto::sha256(as_bytes(std::to_string(i)))}});
    if (i % 50 == 0) chunks.push_back({0, kZeroChunk, 20, view::zero_blob_id()});
  }
  const auto parts_of = [&](const TreeLimits& within, bool is_long) {
    ImageList list(within);
    std::uint64_t at = 0;
    for (StoredChunk chunk : chunks) {
      chunk.offset = at;
      list.take(chunk);
      at += std::uint64_t{chunk.length} * chunk.repeat;
    }
    auto parts = list.take_parts();
    EXPECT_EQ(list.is_long(), is_long);
    return parts;
  };
  const auto joined = parts_of({}, false), before = parts_of(limits, true);
  ASSERT_EQ(joined.size(), 1U);
  std::vector<repo::BlobId> all;
  std::uint64_t size = 0;
  for (const auto& part : before) {
    EXPECT_LE(part.content.size(), 256U + kZerosInLong + 4);
    if (&part != &before.back()) {
      EXPECT_GE(part.content.size(), 64U);
    }
    all.insert(all.end(), part.content.begin(), part.content.end());
    size += part.size;
  }
  EXPECT_EQ(all, joined[0].content);
  EXPECT_EQ(size, joined[0].size);
  EXPECT_GT(before.size(), 10U);
  chunks.insert(chunks.begin() + 10, StoredChunk{0, 4096, 1, {crypto::sha256(as_bytes("new"))}});
  std::set<std::vector<repo::BlobId>> old;
  for (const auto& part : before) old.insert(part.content);
  std::size_t moved = 0;
  for (const auto& part : parts_of(limits, true)) moved += old.contains(part.content) ? 0 : 1;
  EXPECT_GE(moved, 1U);
  EXPECT_LE(moved, 4U);
}

TEST(ImageList, zeros_become_long_after_at_least_one_short_one) {
  const repo::BlobId data{crypto::sha256(as_bytes("data"))};
  for (const auto& [chunks, short_ones] :
       std::map<std::uint32_t, std::uint32_t>{{1, 1}, {15, 15}, {16, 16}, {17, 1}, {32, 16}, {33, 1}}) {
    ImageList list;
    std::uint64_t at = 0;
    const auto take = [&](std::uint32_t length, std::uint32_t repeat, const repo::BlobId& id) {
      list.take({at, length, repeat, id});
      at += std::uint64_t{length} * repeat;
    };
    take(1000, 1, data);
    // However the run was divided between workers.
    if (chunks > 3) take(kZeroChunk, 3, view::zero_blob_id());
    take(kZeroChunk, chunks > 3 ? chunks - 3 : chunks, view::zero_blob_id());
    take(5, 2, data);
    std::vector<repo::BlobId> expected{data};
    expected.insert(expected.end(), short_ones, view::zero_blob_id());
    expected.insert(expected.end(), (chunks - short_ones) / kZerosInLong, view::long_zero_blob_id());
    expected.insert(expected.end(), 2, data);
    const auto parts = list.take_parts();
    EXPECT_EQ(parts.at(0).content, expected) << chunks;
    EXPECT_EQ(parts.at(0).size, at);
    EXPECT_EQ(list.has_long_zeros(), chunks > kZerosInLong);
  }
}

TEST(ImageList, long_zeros_are_the_chunks_of_the_pass_again) {
  const view::ImageChunk blob{12345, view::kLongZeroBlobLength, view::long_zero_blob_id()};
  for (std::uint64_t i = 0; i < kZerosInLong; ++i) {
    const std::uint64_t at = blob.offset + i * kZeroChunk;
    for (const std::uint64_t offset : {at, at + 1, at + kZeroChunk - 1}) {
      const view::ImageChunk chunk = chunk_of_pass(blob, offset);
      EXPECT_EQ(chunk.offset, at);
      EXPECT_EQ(chunk.length, kZeroChunk);
      EXPECT_EQ(chunk.id, view::zero_blob_id());
    }
  }
  const view::ImageChunk data{5, view::kLongZeroBlobLength, view::zero_blob_id(1000)};
  EXPECT_EQ(chunk_of_pass(data, 100).length, data.length);
}

TEST(ImageList, gaps_and_crossings_are_bugs) {
  ImageList list;
  EXPECT_THROW(list.take({5, 10, 1, {}}), Error);
  EXPECT_THROW(list.take({0, 0, 1, {}}), Error);
  list.take({0, kZeroChunk, static_cast<std::uint32_t>(view::kImagePartSize / kZeroChunk) - 1, {}});
  EXPECT_THROW(list.take({view::kImagePartSize - kZeroChunk, kZeroChunk + 1, 1, {}}), Error);
}

}  // namespace
}  // namespace respaldo::backup
