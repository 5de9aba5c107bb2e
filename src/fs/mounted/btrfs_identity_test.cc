#include "fs/mounted/btrfs_identity.h"

#include <gtest/gtest.h>

#include "base/crc.h"
#include "base/endian.h"
#include "block/file_device.h"

namespace respaldo::fs {
namespace {

constexpr std::uint64_t kPlace = 64U << 10;

// A superblock as mkfs.btrfs makes it, as far as it matters here.
Bytes superblock(std::uint64_t devices = 1, std::uint8_t checksum_type = 0) {
  Bytes super = Bytes::zeroed(4096);
  std::memset(super.data() + 0x20, 7, 16);
  std::memcpy(super.data() + 0x40, "_BHRfS_M", 8);
  store_le64(super.data() + 0x88, devices);
  store_le64(super.data() + 0xbc, 0x341);
  super.data()[0xc4] = checksum_type;
  store_le32(super.data(), ~crc32c_raw(super.view(32, 4096 - 32)));
  return super;
}

block::DevicePtr disk(const Bytes& super) {
  auto device = std::make_shared<block::MemoryDevice>(1U << 20);
  device->write_at(kPlace, super);
  return device;
}

TEST(BtrfsIdentity, the_uuid_is_another_and_the_old_one_is_kept_for_the_trees) {
  const auto device = disk(superblock());
  const auto changed = with_own_identity(device);
  ASSERT_NE(changed, device);
  const Bytes before = block::read(*device, kPlace, 4096), after = block::read(*changed, kPlace, 4096);
  EXPECT_NE(std::memcmp(before.data() + 0x20, after.data() + 0x20, 16), 0);
  EXPECT_EQ(std::memcmp(before.data() + 0x20, after.data() + 0x23b, 16), 0);
  EXPECT_EQ(load_le64(after.data() + 0xbc), 0x341U | 0x400U);
  EXPECT_EQ(load_le32(after.data()), ~crc32c_raw(after.view(32, 4096 - 32)));
  EXPECT_EQ(as_text(block::read(*device, kPlace, 4096)), as_text(superblock()));  // itself as it was
}

TEST(BtrfsIdentity, one_that_has_a_metadata_uuid_keeps_it) {
  const auto once = with_own_identity(disk(superblock()));
  const auto twice = with_own_identity(once);
  ASSERT_NE(once, twice);
  EXPECT_EQ(as_text(block::read(*once, kPlace + 0x23b, 16)),
            as_text(block::read(*twice, kPlace + 0x23b, 16)));
  EXPECT_NE(as_text(block::read(*once, kPlace + 0x20, 16)), as_text(block::read(*twice, kPlace + 0x20, 16)));
}

TEST(BtrfsIdentity, what_cannot_be_changed_is_left_alone) {
  Bytes supers[] = {superblock(2), superblock(1, 1), Bytes::zeroed(4096)};
  for (const Bytes& super : supers) {
    const auto device = disk(super);
    EXPECT_EQ(with_own_identity(device), device);
  }
  Bytes damaged = superblock();
  damaged.data()[100] ^= 1;
  const auto device = disk(damaged);
  EXPECT_EQ(with_own_identity(device), device);
  const block::DevicePtr small = std::make_shared<block::MemoryDevice>(4096);
  EXPECT_EQ(with_own_identity(small), small);
}

}  // namespace
}  // namespace respaldo::fs
