#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "dm/devices_test.h"
#include "dm/table.h"

namespace respaldo::dm {
namespace {

Bytes joined(std::initializer_list<ByteView> parts) {
  Bytes all;
  for (const ByteView part : parts) {
    const std::size_t at = all.size();
    all.resize(at + part.size());
    std::memcpy(all.data() + at, part.data(), part.size());
  }
  return all;
}

TEST(Assemble, segments_follow_one_another) {
  MapResolver resolver;
  const Bytes a = testing::random_bytes(8192, 1), b = testing::random_bytes(8192, 2);
  resolver.devices = {{"a", memory(a)}, {"b", memory(b)}};
  const auto device =
      assemble({{0, 4, LinearTarget{{"b", 2}}}, {4, 2, ZeroTarget{}}, {6, 8, LinearTarget{{"a", 8}}}},
               resolver, "vg/lv");
  EXPECT_EQ(device->size(), 14 * 512U);
  const Bytes expected = joined({b.view(1024, 2048), Bytes::zeroed(1024), a.view(4096, 4096)});
  EXPECT_TRUE(equal(whole(*device), expected));
  EXPECT_TRUE(equal(block::read(*device, 2000, 2000), expected.view(2000, 2000)));
  EXPECT_EQ(device->runs({0, device->size()}),
            (std::vector<block::Run>{{{0, 2048}, block::RunKind::data},
                                     {{2048, 1024}, block::RunKind::zero},
                                     {{3072, 4096}, block::RunKind::data}}));
}

TEST(Assemble, a_gap_between_segments_is_corrupt) {
  MapResolver resolver;
  EXPECT_EQ(error_kind([&] {
              assemble({{0, 8, ZeroTarget{}}, {9, 8, ZeroTarget{}}}, resolver, "lv");
            }),
            ErrorKind::corrupt);
  EXPECT_EQ(error_kind([&] { assemble({{0, 0, ZeroTarget{}}}, resolver, "lv"); }), ErrorKind::corrupt);
  EXPECT_EQ(error_kind([&] {
              assemble({{0, UINT64_MAX, ZeroTarget{}}}, resolver, "lv");
            }),
            ErrorKind::corrupt);
}

TEST(Assemble, a_segment_past_the_end_of_its_disk_is_corrupt) {
  MapResolver resolver;
  resolver.devices = {{"a", random_memory(4096, 1)}};
  EXPECT_EQ(error_kind([&] {
              assemble({{0, 8, LinearTarget{{"a", 1}}}}, resolver, "lv");
            }),
            ErrorKind::corrupt);
}

TEST(Assemble, unsupported_types_are_named) {
  MapResolver resolver;
  try {
    assemble({{0, 8, UnsupportedTarget{"vdo", ""}}}, resolver, "vg/lv");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_NE(std::string(error.what()).find("vdo"), std::string::npos);
  }
}

TEST(Assemble, stripes_alternate_over_their_legs) {
  MapResolver resolver;
  const Bytes a = testing::random_bytes(16384, 1), b = testing::random_bytes(16384, 2),
              c = testing::random_bytes(16384, 3);
  resolver.devices = {{"a", memory(a)}, {"b", memory(b)}, {"c", memory(c)}};
  const auto device = assemble({{0, 48, StripedTarget{8, {{"a", 8}, {"b", 0}, {"c", 16}}}}}, resolver, "lv");
  EXPECT_TRUE(equal(whole(*device), joined({a.view(4096, 4096), b.view(0, 4096), c.view(8192, 4096),
                                            a.view(8192, 4096), b.view(4096, 4096), c.view(12288, 4096)})));
}

TEST(Assemble, holes_of_stripes_stay_holes) {
  os::TemporaryFolder folder;
  MapResolver resolver;
  for (const std::string name : {"a", "b"}) {
    const os::Path path = folder.path() / name;
    os::UniqueFd fd = os::open_file(path, O_RDWR | O_CREAT);
    ASSERT_EQ(::ftruncate(fd.get(), 64 << 20), 0);
    resolver.devices[name] =
        std::make_shared<block::FileDevice>(path, std::move(fd), block::FileDevice::Access::read_write);
  }
  auto& b = dynamic_cast<block::FileDevice&>(*resolver.devices["b"]);
  b.write_at(3 << 20, testing::random_bytes(65536, 1));
  const auto device =
      assemble({{0, (128 << 20) / 512, StripedTarget{128, {{"a", 0}, {"b", 0}}}}}, resolver, "lv");
  const auto runs = device->runs({0, device->size()});
  EXPECT_EQ(runs,
            (std::vector<block::Run>{{{0, (6 << 20) + 65536}, block::RunKind::zero},
                                     {{(6 << 20) + 65536, 65536}, block::RunKind::data},
                                     {{(6 << 20) + 131072, (122 << 20) - 131072}, block::RunKind::zero}}));
  EXPECT_TRUE(runs_are_true(*device));
}

TEST(AssembleWritable, writes_land_where_reads_find_them) {
  const auto a = random_memory(1 << 16, 1), b = random_memory(1 << 16, 2);
  const auto resolve = [&](const std::string& name) -> block::WritableDevicePtr {
    return name == "a" ? a : b;
  };
  const auto device = assemble_writable(
      {{0, 64, StripedTarget{8, {{"a", 8}, {"b", 0}}}}, {64, 32, LinearTarget{{"b", 64}}}}, resolve, "lv");
  Bytes model = whole(*device);
  std::mt19937_64 random(3);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t offset = random() % device->size();
    const std::uint64_t length = random() % std::min<std::uint64_t>(device->size() - offset, 10000);
    if (i % 5 == 0) {
      device->zero({offset, length});
      std::memset(model.data() + offset, 0, length);
    } else {
      const Bytes bytes = testing::random_bytes(length, random());
      device->write_at(offset, bytes);
      if (length > 0) std::memcpy(model.data() + offset, bytes.data(), length);
    }
  }
  EXPECT_TRUE(equal(whole(*device), model));
  EXPECT_EQ(error_kind([&] {
              assemble_writable({{0, 8, ZeroTarget{}}}, resolve, "lv");
            }),
            ErrorKind::unsupported);
}

TEST(Assemble, a_missing_disk_breaks_only_what_lies_on_it) {
  MapResolver resolver;
  const Bytes a = testing::random_bytes(8192, 1);
  resolver.devices = {{"a", memory(a)}, {"gone", missing(8192, "pv gone")}};
  const auto device =
      assemble({{0, 8, LinearTarget{{"a", 0}}}, {8, 8, LinearTarget{{"gone", 0}}}}, resolver, "lv");
  EXPECT_TRUE(equal(block::read(*device, 0, 4096), a.view(0, 4096)));
  EXPECT_EQ(error_kind([&] { block::read(*device, 4000, 200); }), ErrorKind::missing);
}

}  // namespace
}  // namespace respaldo::dm
