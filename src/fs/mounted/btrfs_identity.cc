#include "fs/mounted/btrfs_identity.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "base/crc.h"
#include "base/endian.h"
#include "base/error.h"
#include "block/layers.h"

namespace respaldo::fs {

namespace {

// struct btrfs_super_block, https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html#superblock
constexpr std::uint64_t kPlace = 64U << 10;
constexpr std::size_t kSize = 4096, kCsumSize = 32, kFsid = 0x20, kUuidSize = 16, kMagic = 0x40,
                      kDevices = 0x88, kIncompat = 0xbc, kCsumType = 0xc4, kMetadataUuid = 0x23b;
constexpr std::uint64_t kHasMetadataUuid = 1U << 10;

std::uint32_t checksum(ByteView super) { return ~crc32c_raw(super.subspan(kCsumSize)); }

}  // namespace

block::DevicePtr with_own_identity(block::DevicePtr device) {
  if (device->size() < kPlace + kSize) return device;
  Bytes super(kSize);
  try {
    device->read_at(kPlace, super);
  } catch (const Error&) {
    return device;
  }
  std::uint8_t* const at = super.data();
  if (std::memcmp(at + kMagic, "_BHRfS_M", 8) != 0 || load_le64(at + kDevices) != 1 ||
      (at[kCsumType] | at[kCsumType + 1]) != 0 || load_le32(at) != checksum(super))
    return device;
  const std::uint64_t features = load_le64(at + kIncompat);
  if ((features & kHasMetadataUuid) == 0) {
    store_le64(at + kIncompat, features | kHasMetadataUuid);
    std::memcpy(at + kMetadataUuid, at + kFsid, kUuidSize);
  }
  if (::getrandom(at + kFsid, kUuidSize, 0) != static_cast<ssize_t>(kUuidSize)) return device;
  std::fill_n(at, kCsumSize, std::uint8_t{0});
  store_le32(at, checksum(super));
  const block::WritableDevicePtr changed = block::overlay(std::move(device));
  changed->write_at(kPlace, super);
  return changed;
}

}  // namespace respaldo::fs
