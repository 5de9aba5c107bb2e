// A pack's list of blobs: what was understood is written byte for byte as it was read.
#include <algorithm>

#include "base/error.h"
#include "repo/pack.h"
#include "repo/repository.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView plain(data, size);
  try {
    const std::vector<repo::PackedBlob> blobs = repo::parse_pack_header(plain);
    const Bytes written = repo::pack_header(blobs);
    if (!std::equal(plain.begin(), plain.end(), written.view().begin(), written.view().end()))
      __builtin_trap();
    std::uint64_t offset = 0;
    for (const repo::PackedBlob& blob : blobs) {
      if (blob.offset != offset) __builtin_trap();
      offset += blob.length;
    }
    if (repo::Index::expected_pack_size({{}, blobs}) != offset + size + 36) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
