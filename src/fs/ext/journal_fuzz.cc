// Any bytes as a journal of 1 KiB blocks that fills its device.
#include "base/error.h"
#include "block/file_device.h"
#include "fs/ext/journal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace respaldo;
  const std::uint64_t blocks = size / 1024;
  if (blocks == 0) return 0;
  const auto device = std::make_shared<block::MemoryDevice>(ByteView(data, blocks * 1024));
  try {
    const auto replay = fs::ext::replay_journal(device, {1024, blocks, {{0, blocks}}});
    if (replay.device->size() != device->size()) __builtin_trap();
    Bytes all(device->size());
    replay.device->read_at(0, all);
    std::uint64_t told = 0;
    for (const block::Run& run : replay.device->runs({0, device->size()})) {
      if (run.extent.offset != told) __builtin_trap();
      told = run.extent.end();
    }
    if (told != device->size()) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
