#include "fs/probe/probe.h"

#include <gtest/gtest.h>

#include <fstream>

#include "block/file_device.h"
#include "os/process.h"
#include "testing/temp.h"

namespace respaldo::fs {
namespace {

class Image {
 public:
  explicit Image(std::uint64_t size) : path_(folder_.path() / "volume") {
    std::ofstream(path_).close();
    std::filesystem::resize_file(path_, size);
  }
  void run(std::vector<std::string> command) {
    command.push_back(path_);
    const auto result = os::run_command(command);
    ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
  }
  block::FileDevice device() const { return {path_, block::FileDevice::Access::read_write}; }

 private:
  os::TemporaryFolder folder_;
  os::Path path_;
};

TEST(Probe, filesystems_tell_their_type_label_and_uuid) {
  Image image(16U << 20);
  image.run({"mkfs.ext4", "-q", "-L", "my label", "-U", "12345678-1234-1234-1234-123456789abc"});
  const auto found = probe(image.device());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->type, "ext4");
  EXPECT_EQ(found->usage, "filesystem");
  EXPECT_EQ(found->label, "my label");
  EXPECT_EQ(found->uuid, "12345678-1234-1234-1234-123456789abc");
}

TEST(Probe, swap_and_large_sparse_volumes) {
  Image image(std::uint64_t{1} << 40);
  image.run({"mkswap", "-q", "-L", "paging"});
  const auto found = probe(image.device());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->type, "swap");
  EXPECT_EQ(found->label, "paging");
}

TEST(Probe, superblocks_at_the_end_are_seen) {
  // A RAID member of version 1.0, which keeps its superblock 8 to 12 KiB before the end.
  Image image(64U << 20);
  auto device = image.device();
  Bytes superblock = Bytes::zeroed(4096);
  std::uint8_t* bytes = superblock.data();
  const std::uint8_t head[8] = {0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0};
  std::memcpy(bytes, head, sizeof head);
  const std::uint64_t sector = ((64U << 20) / 512 - 16) & ~std::uint64_t{7};
  for (int i = 0; i < 8; ++i) bytes[144 + i] = static_cast<std::uint8_t>(sector >> (8 * i));
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < 256; i += 4)
    sum += bytes[i] | bytes[i + 1] << 8 | bytes[i + 2] << 16 | std::uint64_t{bytes[i + 3]} << 24;
  const std::uint32_t folded = static_cast<std::uint32_t>((sum & 0xffffffff) + (sum >> 32));
  for (int i = 0; i < 4; ++i) bytes[216 + i] = static_cast<std::uint8_t>(folded >> (8 * i));
  device.write_at(sector * 512, superblock);
  const auto found = probe(device);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->type, "linux_raid_member");
  EXPECT_EQ(found->usage, "raid");
}

TEST(Probe, two_signatures_are_ambivalent) {
  Image image(16U << 20);
  image.run({"mkfs.ext4", "-q"});
  auto device = image.device();
  bool ambivalent = true;
  EXPECT_TRUE(probe(device, &ambivalent));
  EXPECT_FALSE(ambivalent);
  // xfs puts its magic at byte 0, which ext4 leaves alone.
  Image xfs(400U << 20);
  xfs.run({"mkfs.xfs", "-q"});
  device.write_at(0, block::read(xfs.device(), 0, 512));
  EXPECT_FALSE(probe(device, &ambivalent));
  EXPECT_TRUE(ambivalent);
}

TEST(Probe, nothing_is_found_in_zeros_and_noise_and_on_nothing) {
  EXPECT_FALSE(probe(block::MemoryDevice(std::uint64_t{0})));
  EXPECT_FALSE(probe(block::MemoryDevice(std::uint64_t{512})));
  EXPECT_FALSE(probe(block::MemoryDevice(std::uint64_t{8} << 20)));
  EXPECT_FALSE(probe(block::MemoryDevice(testing::random_bytes(8U << 20, 1).view())));
}

}  // namespace
}  // namespace respaldo::fs
