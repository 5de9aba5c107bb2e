#include "block/copy.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <random>

#include "base/error.h"
#include "block/layers.h"

namespace respaldo::block {
namespace {

constexpr std::uint64_t kSize = (9 << 20) + 12288;

WritableDevicePtr random_device(unsigned seed) {
  WritableDevicePtr device = overlay(zero_device(kSize, "disk"));
  std::mt19937_64 random(seed);
  Bytes bytes(kSize);
  const MutableBytes view(bytes.data(), bytes.size());
  for (std::uint8_t& byte : view) byte = static_cast<std::uint8_t>(random());
  device->write_at(0, bytes);
  return device;
}

bool equal(const Device& a, const Device& b, Extent range) {
  const Bytes one = read(a, range.offset, range.length), other = read(b, range.offset, range.length);
  return std::memcmp(one.data(), other.data(), range.length) == 0;
}

// Counts what is written.
class Counted final : public WritableDevice {
 public:
  explicit Counted(WritableDevicePtr below) : below_(std::move(below)) {}
  std::uint64_t size() const override { return below_->size(); }
  void read_at(std::uint64_t offset, MutableBytes out) const override { below_->read_at(offset, out); }
  std::string describe() const override { return below_->describe(); }
  void write_at(std::uint64_t offset, ByteView bytes) override {
    written_ += bytes.size();
    below_->write_at(offset, bytes);
  }
  void flush() override { below_->flush(); }
  std::uint64_t written() const { return written_; }

 private:
  const WritableDevicePtr below_;
  std::atomic<std::uint64_t> written_ = 0;
};

CopyTotals run(const Device& from, WritableDevice& to, const ExtentSet& ranges, CopyMode mode,
               const std::stop_token& stop = {}) {
  SilentProgress progress;
  return copy(from, to, ranges, mode, 2, progress, stop);
}

TEST(Copy, writes_the_ranges_and_nothing_else) {
  const auto from = random_device(1), to = random_device(2), before = random_device(2);
  const ExtentSet ranges{{4096, 8192}, {1 << 20, 5 << 20}, {kSize - 512, 512}};
  const CopyTotals totals = run(*from, *to, ranges, CopyMode::all);
  EXPECT_EQ(totals.changed, ranges.total());
  EXPECT_EQ(totals.equal, 0U);
  for (const Extent& range : ranges.extents()) EXPECT_TRUE(equal(*from, *to, range)) << range.offset;
  const ExtentSet others = ranges.complement({0, kSize});
  for (const Extent& range : others.extents())
    EXPECT_TRUE(equal(*before, *to, range)) << range.offset;
}

TEST(Copy, makes_zeros_of_zeros_on_a_disk_that_held_something) {
  const auto from = overlay(zero_device(kSize, "zeros")), to = random_device(2);
  run(*from, *to, {{0, kSize}}, CopyMode::all);
  EXPECT_TRUE(equal(*from, *to, {0, kSize}));
}

TEST(Copy, writes_only_blocks_that_differ) {
  const auto from = random_device(1);
  Counted to(random_device(1));
  const std::uint8_t other = 1;
  for (const std::uint64_t at : {std::uint64_t{5}, std::uint64_t{kCopyBlock} * 7, std::uint64_t{kCopyBlock} * 8,
                                 kSize - 1}) {
    const Bytes byte = read(*from, at, 1);
    const std::uint8_t changed = static_cast<std::uint8_t>(byte.data()[0] ^ other);
    to.write_at(at, {&changed, 1});
  }
  const std::uint64_t tail = kSize % kCopyBlock, differing = 3 * kCopyBlock + tail;
  const std::uint64_t before = to.written();
  EXPECT_EQ(run(*from, to, {{0, kSize}}, CopyMode::compare).changed, differing);
  EXPECT_EQ(to.written(), before);
  const CopyTotals totals = run(*from, to, {{0, kSize}}, CopyMode::differing);
  EXPECT_EQ(totals.changed, differing);
  EXPECT_EQ(totals.equal, kSize - differing);
  EXPECT_EQ(to.written(), before + differing);
  EXPECT_EQ(run(*from, to, {{0, kSize}}, CopyMode::compare).changed, 0U);
}

TEST(Copy, ends_with_the_error_of_the_source_and_when_told_to) {
  const DevicePtr from = faulty(random_device(1), [](Extent at) {
    if (at.contains(6 << 20)) throw Error(ErrorKind::io, "unreadable");
  });
  const auto to = random_device(2);
  EXPECT_THROW(run(*from, *to, {{0, kSize}}, CopyMode::all), Error);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(run(*random_device(1), *to, {{0, kSize}}, CopyMode::all, stop.get_token()), Cancelled);
  EXPECT_THROW(run(*random_device(1), *to, {{0, kSize + 1}}, CopyMode::all), Error);
  SilentProgress progress;
  const auto check = [] { throw Error(ErrorKind::overflow, "the snapshot is dead"); };
  EXPECT_THROW(copy(*random_device(1), *to, {{0, kSize}}, CopyMode::all, 2, progress, {}, check), Error);
}

}  // namespace
}  // namespace respaldo::block
