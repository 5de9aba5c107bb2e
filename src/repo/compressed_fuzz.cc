// zstd frames from anywhere unpack to no more than the limit, both ways to the same bytes.
#include <algorithm>

#include "base/error.h"
#include "repo/compression.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t kLimit = 1U << 20;
  repo::Decompressor decompressor;
  try {
    const Bytes plain = decompressor.decompress({data, size}, kLimit);
    if (plain.size() > kLimit) __builtin_trap();
    if (size == 0) return 0;
    Bytes again(plain.size());
    if (!decompressor.decompress({data, size}, again)) __builtin_trap();
    if (!std::equal(plain.data(), plain.data() + plain.size(), again.data())) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
