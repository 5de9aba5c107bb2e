#include "block/device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "base/error.h"
#include "base/units.h"
#include "block/file_device.h"
#include "block/layers.h"
#include "testing/temp.h"

namespace respaldo::block {
namespace {

using os::TemporaryFolder;
using Access = FileDevice::Access;

os::Path make_file(const TemporaryFolder& folder, std::uint64_t size, const char* name = "disk.img") {
  os::Path path = folder.path() / name;
  std::ofstream(path).close();
  std::filesystem::resize_file(path, size);
  return path;
}

template <class Body>
ErrorKind kind_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorKind::usage;
}

void expect_tiles(const std::vector<block::Run>& runs, Extent range) {
  std::uint64_t at = range.offset;
  const block::Run* last = nullptr;
  for (const block::Run& run : runs) {
    EXPECT_EQ(run.extent.offset, at);
    EXPECT_FALSE(run.extent.empty());
    EXPECT_TRUE(last == nullptr || last->kind != run.kind) << "neighbours of one kind";
    last = &run;
    at = run.extent.end();
  }
  EXPECT_EQ(at, range.end());
}

// What every writable disk does, whatever it is made of.
struct Kind {
  const char* name;
  std::function<WritableDevicePtr(const TemporaryFolder&, std::uint64_t)> make;
  friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};
class AnyWritableDevice : public ::testing::TestWithParam<Kind> {
 protected:
  static constexpr std::uint64_t kSize = 300 * kKiB + 700;  // no multiple of anything
  TemporaryFolder folder_;
  WritableDevicePtr device_ = GetParam().make(folder_, kSize);
};

TEST_P(AnyWritableDevice, starts_as_zeros) {
  EXPECT_EQ(device_->size(), kSize);
  EXPECT_TRUE(is_zero(read(*device_, 0, kSize)));
  EXPECT_FALSE(device_->describe().empty());
}

TEST_P(AnyWritableDevice, reads_back_what_was_written_anywhere) {
  Bytes expected = Bytes::zeroed(kSize);
  std::mt19937_64 random(7);
  for (int i = 0; i < 300; ++i) {
    const std::uint64_t offset = random() % kSize;
    const std::uint64_t length =
        std::min<std::uint64_t>(random() % (i % 3 == 0 ? 50000 : 600), kSize - offset);
    if (i % 4 == 0) {
      device_->zero({offset, length});
      if (length > 0) std::memset(expected.data() + offset, 0, length);
    } else {
      const Bytes bytes = testing::random_bytes(length, random());
      device_->write_at(offset, bytes);
      if (length > 0) std::memcpy(expected.data() + offset, bytes.data(), length);
    }
    if (i % 10 != 0) continue;
    const std::uint64_t from = random() % kSize, size = random() % (kSize - from + 1);
    ASSERT_EQ(as_text(read(*device_, from, size)), as_text(expected.view(from, size)));
  }
  device_->flush();
  EXPECT_EQ(as_text(read(*device_, 0, kSize)), as_text(expected));
  // What runs() calls zero is zero.
  for (const Extent range : {Extent{0, kSize}, Extent{1, 4096}, Extent{70000, 150001}}) {
    const auto runs = device_->runs(range);
    expect_tiles(runs, range);
    for (const block::Run& run : runs)
      if (run.kind == RunKind::zero) {
        EXPECT_TRUE(is_zero(expected.view(run.extent.offset, run.extent.length)));
      }
  }
}

TEST_P(AnyWritableDevice, nothing_lies_outside) {
  Bytes one(1);
  const Bytes none(0);
  for (const auto& [offset, length] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {kSize, 1}, {kSize - 1, 2}, {~0ULL, 1}, {~0ULL, 2}, {1ULL << 63, 1}}) {
    Bytes buffer(length);
    EXPECT_EQ(kind_of([&] { device_->read_at(offset, buffer); }), ErrorKind::internal) << offset;
    EXPECT_EQ(kind_of([&] { device_->write_at(offset, Bytes::zeroed(length)); }), ErrorKind::internal)
        << offset;
    EXPECT_EQ(kind_of([&] { device_->zero({offset, length}); }), ErrorKind::internal) << offset;
  }
  device_->write_at(kSize, none);
  device_->zero({kSize, 0});
  EXPECT_TRUE(device_->runs({kSize, 10}).empty());
  expect_tiles(device_->runs({kSize - 3, 1000}), {kSize - 3, 3});
  EXPECT_TRUE(is_zero(read(*device_, 0, kSize)));
}

WritableDevicePtr zeros_below(std::uint64_t size) { return std::make_shared<MemoryDevice>(size); }

const Kind kKinds[] = {
    {"file",
     [](const TemporaryFolder& folder, std::uint64_t size) {
       return std::make_shared<FileDevice>(make_file(folder, size), Access::read_write);
     }},
    {"memory", [](const TemporaryFolder&, std::uint64_t size) { return zeros_below(size); }},
    {"slice",
     [](const TemporaryFolder&, std::uint64_t size) {
       return slice(zeros_below(size + 12345), {1000, size}, "slice");
     }},
    {"slice_of_file",
     [](const TemporaryFolder& folder, std::uint64_t size) {
       WritableDevicePtr file =
           std::make_shared<FileDevice>(make_file(folder, size + 12345), Access::read_write);
       return slice(std::move(file), {512, size}, "slice");
     }},
    {"overlay",
     [](const TemporaryFolder&, std::uint64_t size) { return overlay(zero_device(size, "nothing")); }},
};

INSTANTIATE_TEST_SUITE_P(Block, AnyWritableDevice, ::testing::ValuesIn(kKinds),
                         [](const auto& of) { return std::string(of.param.name); });

TEST(FileDevice, knows_the_holes_of_its_file) {
  const TemporaryFolder folder;
  FileDevice device(make_file(folder, 3 * kMiB), Access::read_write);
  device.write_at(kMiB, testing::random_bytes(kMiB, 1));
  const std::vector<block::Run> expected{
      {{0, kMiB}, RunKind::zero}, {{kMiB, kMiB}, RunKind::data}, {{2 * kMiB, kMiB}, RunKind::zero}};
  EXPECT_EQ(device.runs({0, 3 * kMiB}), expected);
  device.zero({kMiB, kMiB});
  EXPECT_EQ(device.runs({0, 3 * kMiB}), (std::vector<block::Run>{{{0, 3 * kMiB}, RunKind::zero}}));
}

TEST(FileDevice, a_file_that_shrank_is_an_error_and_never_zeros) {
  const TemporaryFolder folder;
  const os::Path path = make_file(folder, 3 * kMiB);
  FileDevice device(path, Access::read_only);
  std::filesystem::resize_file(path, kMiB);
  for (const block::Run& run : device.runs({0, 3 * kMiB}))
    EXPECT_TRUE(run.extent.end() <= kMiB || run.kind == RunKind::data) << "would be taken for zeros unread";
  EXPECT_EQ(kind_of([&] { read(device, 2 * kMiB, 10); }), ErrorKind::corrupt);
}

TEST(FileDevice, what_is_open_for_reading_is_not_written) {
  const TemporaryFolder folder;
  FileDevice device(make_file(folder, kMiB), Access::read_only);
  EXPECT_EQ(kind_of([&] { device.write_at(0, as_bytes("x")); }), ErrorKind::refused);
  EXPECT_EQ(kind_of([&] { device.zero({0, 1}); }), ErrorKind::refused);
}

TEST(FileDevice, what_is_no_disk_is_refused_at_once) {
  const TemporaryFolder folder;
  EXPECT_EQ(kind_of([&] { FileDevice(folder.path(), Access::read_only); }), ErrorKind::usage);
  EXPECT_EQ(kind_of([&] { FileDevice("/dev/null", Access::read_only); }), ErrorKind::usage);
  EXPECT_EQ(kind_of([&] { FileDevice(folder.path() / "missing", Access::read_only); }), ErrorKind::not_found);
  const os::Path fifo = folder.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(kind_of([&] { FileDevice(fifo, Access::read_only); }),
            ErrorKind::usage);  // and does not wait for a writer
}

TEST(Slice, a_range_that_the_disk_does_not_have_is_corrupt) {
  const DevicePtr below = zero_device(1000, "disk.img");
  for (const Extent range :
       {Extent{1001, 0}, Extent{0, 1001}, Extent{999, 2}, Extent{10, ~0ULL}, Extent{~0ULL, 10}})
    EXPECT_EQ(kind_of([&] { slice(below, range, "part1"); }), ErrorKind::corrupt);
  EXPECT_EQ(slice(below, {1000, 0}, "nothing")->size(), 0U);
  try {
    slice(below, {10, 5000}, "part1");
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "part1 claims bytes 10 to 5010 of disk.img, which has only 1000");
  }
}

TEST(Slice, runs_are_those_below_moved) {
  const TemporaryFolder folder;
  auto file = std::make_shared<FileDevice>(make_file(folder, kMiB), Access::read_write);
  file->write_at(512 * kKiB, testing::random_bytes(64 * kKiB, 1));
  const DevicePtr part = slice(DevicePtr(file), {256 * kKiB, 512 * kKiB}, "part");
  const std::vector<block::Run> expected{{{0, 256 * kKiB}, RunKind::zero},
                                         {{256 * kKiB, 64 * kKiB}, RunKind::data},
                                         {{320 * kKiB, 192 * kKiB}, RunKind::zero}};
  EXPECT_EQ(part->runs({0, kMiB}), expected);
}

TEST(ZeroDevice, is_known_to_be_zero_without_reading) {
  const DevicePtr zeros = zero_device(kTiB, "huge");
  EXPECT_EQ(zeros->runs({5, 2 * kTiB}), (std::vector<block::Run>{{{5, kTiB - 5}, RunKind::zero}}));
  EXPECT_TRUE(is_zero(read(*zeros, kTiB - 100, 100)));
}

TEST(ErrorDevice, fails_every_read_and_no_more) {
  const DevicePtr gone =
      error_device(kMiB, "vg0 second PV", Error(ErrorKind::missing, "no disk carries PV abc"));
  EXPECT_EQ(gone->size(), kMiB);
  EXPECT_EQ(kind_of([&] { read(*gone, 0, 1); }), ErrorKind::missing);
  read(*gone, 0, 0);
}

TEST(Overlay, never_writes_what_lies_below) {
  const auto below = std::make_shared<MemoryDevice>(testing::random_bytes(20000, 3));
  const Bytes before = read(*below, 0, 20000);
  const WritableDevicePtr top = overlay(below);
  top->write_at(4090, Bytes::zeroed(20));
  top->zero({19990, 10});
  EXPECT_EQ(as_text(read(*below, 0, 20000)), as_text(before));
  EXPECT_TRUE(is_zero(read(*top, 4090, 20)));
  EXPECT_EQ(as_text(read(*top, 0, 4090)), as_text(before.view(0, 4090)));
  EXPECT_EQ(as_text(read(*top, 4110, 15880)), as_text(before.view(4110, 15880)));
  EXPECT_TRUE(is_zero(read(*top, 19990, 10)));
}

TEST(Overlay, holes_below_stay_holes_except_where_it_was_written) {
  const WritableDevicePtr top = overlay(zero_device(kTiB, "huge"));
  top->write_at(kGiB, as_bytes("x"));
  const std::vector<block::Run> expected{{{0, kGiB}, RunKind::zero},
                                         {{kGiB, 4096}, RunKind::data},
                                         {{kGiB + 4096, kTiB - kGiB - 4096}, RunKind::zero}};
  EXPECT_EQ(top->runs({0, kTiB}), expected);
}

TEST(Faulty, fails_where_it_is_told_to) {
  const DevicePtr device = faulty(zero_device(10000, "disk"), [](Extent read) {
    if (!intersect(read, {5000, 1}).empty()) throw Error(ErrorKind::io, "bad sector");
  });
  EXPECT_EQ(read(*device, 0, 5000).size(), 5000U);
  EXPECT_EQ(kind_of([&] { read(*device, 4990, 20); }), ErrorKind::io);
  EXPECT_EQ(read(*device, 5001, 4999).size(), 4999U);
}

TEST(AppendRun, joins_neighbours_of_one_kind) {
  std::vector<block::Run> runs;
  append_run(runs, {{0, 10}, RunKind::data});
  append_run(runs, {{10, 0}, RunKind::zero});
  append_run(runs, {{10, 5}, RunKind::data});
  append_run(runs, {{15, 5}, RunKind::zero});
  append_run(runs, {{30, 5}, RunKind::zero});  // not touching
  EXPECT_EQ(runs, (std::vector<block::Run>{
                      {{0, 15}, RunKind::data}, {{15, 5}, RunKind::zero}, {{30, 5}, RunKind::zero}}));
}

}  // namespace
}  // namespace respaldo::block
