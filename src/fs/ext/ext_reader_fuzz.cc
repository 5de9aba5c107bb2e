// Any bytes as a filesystem: whatever opens is walked whole.
#include <sys/stat.h>

#include "base/error.h"
#include "block/file_device.h"
#include "fs/ext/ext_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace respaldo;
  // Sparse images are kept short in the corpus: the last two bytes say how far zeros go on behind.
  if (size < 3) return 0;
  const std::size_t zeros = (data[size - 1] << 8 | data[size - 2]) * std::size_t{1024};
  Bytes bytes = Bytes::zeroed(size - 2 + zeros);
  std::memcpy(bytes.data(), data, size - 2);
  try {
    const auto reader = fs::try_open_ext(std::make_shared<block::MemoryDevice>(ByteView(bytes)));
    if (!reader) return 0;
    std::uint8_t buffer[70000];
    for (fs::NodeIndex i = 0; i < reader->node_count(); ++i) {
      const auto node = reader->node(i);
      for (std::size_t k = 0; k < reader->entry_count(i); ++k)
        if (reader->entry(i, k).name.empty()) __builtin_trap();
      for (const auto& extent : reader->extents(i))
        if (extent.logical + extent.length > node.size ||
            extent.physical + extent.length > reader->facts().size)
          __builtin_trap();
      reader->read(i, node.size / 2, buffer);
      (void)reader->path(i);
      (void)reader->link_target(i);
      try {
        (void)reader->xattrs(i);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
