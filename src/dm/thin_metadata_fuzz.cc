// Thin pool metadata from anywhere. The input is a list of pieces {u8 block, u16 offset, u16 length, bytes}
// of a small device; checksums and block numbers are made right afterwards, so that what they guard is
// reached too.
#include "dm/thin_metadata.h"

#include "base/crc.h"
#include "base/endian.h"
#include "base/error.h"
#include "block/file_device.h"
#include "dm/thin.h"
#include "dm/thin_format.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kBlocks = 64, kBlock = dm::kThinBlock;
  if (size == 0) return 0;
  const bool repair = data[0] % 4 != 0;
  Bytes bytes = Bytes::zeroed(kBlocks * kBlock);
  ByteView rest(data + 1, size - 1);
  while (rest.size() > 5) {
    const std::size_t block = rest[0] % kBlocks, offset = (rest[1] | rest[2] << 8) % kBlock;
    const std::size_t length =
        std::min({std::size_t(rest[3] | rest[4] << 8), kBlock - offset, rest.size() - 5});
    std::memcpy(bytes.data() + block * kBlock + offset, rest.data() + 5, length);
    rest = rest.subspan(5 + length);
  }
  for (std::size_t block = 0; repair && block < kBlocks; ++block) {
    std::uint8_t* place = bytes.data() + block * kBlock;
    store_le64(place + 8, block);
    store_le32(place, crc32c_raw({place + 4, kBlock - 4}) ^
                          (block == 0 ? dm::kThinSuperblockSalt : dm::kThinNodeSalt));
  }
  try {
    const dm::ThinMetadata metadata(std::make_shared<block::MemoryDevice>(bytes));
    for (const dm::ThinDevice& left : metadata.devices()) {
      try {
        // Ascending and apart, whatever the trees say; the device against itself is equal.
        std::uint64_t at = 0;
        for (const auto& one : metadata.differences(metadata.devices().front().id, left.id)) {
          if (one.length == 0 || one.virtual_block < at) __builtin_trap();
          at = one.virtual_block + one.length;
        }
        if (!metadata.differences(left.id, left.id).empty()) __builtin_trap();
      } catch (const Error&) {
      }
    }
    const auto pool = std::make_shared<block::MemoryDevice>(std::uint64_t{8} << 20);
    for (const dm::ThinDevice& device : metadata.devices()) {
      try {
        const std::uint64_t size_of_thin = 200 * metadata.block_size() + 512;
        const auto thin = dm::thin_target(metadata, pool, device.id, nullptr, size_of_thin, "thin");
        std::uint64_t at = 0;
        for (const block::Run& run : thin->runs({0, size_of_thin})) {
          if (run.extent.offset != at) __builtin_trap();
          at = run.extent.end();
        }
        if (at != size_of_thin) __builtin_trap();
        (void)block::read(*thin, metadata.block_size() - 7, 4096);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
