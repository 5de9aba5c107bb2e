// A small disk, as it is and with a GPT's checksums made right: partitions lie on the disk, in ascending
// order.
#include "fs/part/partition_table.h"

#include "base/crc.h"
#include "base/endian.h"
#include "base/error.h"
#include "block/file_device.h"

using namespace respaldo;

namespace {

constexpr std::uint64_t kMost = 256U << 10;

std::uint32_t crc(ByteView bytes) { return ~lvm_crc(bytes, 0xffffffffU); }

void look(const block::Device& disk) {
  const auto table = fs::read_partition_table(disk);
  if (!table) return;
  if (table->kind != "gpt" && table->kind != "dos") __builtin_trap();
  if (table->partitions.empty() && table->problems.empty() && table->kind == "dos") __builtin_trap();
  unsigned number = 0;
  for (const fs::Partition& partition : table->partitions) {
    if (partition.number <= number || partition.extent.empty() || partition.extent.offset > disk.size() ||
        partition.extent.length > disk.size() - partition.extent.offset)
      __builtin_trap();
    number = partition.number;
  }
}

// Headers and entries get the checksums that they should have.
void repair(Bytes& disk, std::uint64_t lba) {
  std::uint8_t* header = disk.data() + lba * 512;
  std::memcpy(header, "EFI PART", 8);
  store_le64(header + 24, lba);
  const std::uint64_t at = load_le64(header + 72),
                      bytes = std::uint64_t{load_le32(header + 80)} * load_le32(header + 84);
  if (at < disk.size() / 512 && bytes <= disk.size() - at * 512)
    store_le32(header + 88, crc(disk.view(at * 512, bytes)));
  const std::uint32_t size = load_le32(header + 12);
  if (size < 92 || size > 512) return;
  store_le32(header + 16, 0);
  store_le32(header + 16, crc({header, size}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4096 || size > kMost) return 0;
  Bytes disk = Bytes::copy_of({data, size / 512 * 512});
  look(block::MemoryDevice(disk));
  disk.data()[510] = 0x55;
  disk.data()[511] = 0xaa;
  look(block::MemoryDevice(disk));
  disk.data()[450] = 0xee;
  store_le32(disk.data() + 454, 1);
  repair(disk, disk.size() / 512 - 1);
  look(block::MemoryDevice(disk));
  repair(disk, 1);
  look(block::MemoryDevice(disk));
  return 0;
}
