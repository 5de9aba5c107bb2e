// zstd frames from anywhere unpack to no more than the limit, both ways to the same bytes. As a stream
// libzstd takes a little more than at once: a compressed block of no bytes is damage only to the latter.
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
    if (decompressor.decompress({data, size}, again) &&
        !std::equal(plain.data(), plain.data() + plain.size(), again.data()))
      __builtin_trap();
    // What we pack ourselves is read both ways.
    static repo::Compressor compressor(repo::kAutoLevel);
    Bytes packed(repo::Compressor::bound(plain.size()));
    packed.resize(compressor.compress(plain, packed));
    if (!decompressor.decompress(packed, again) ||
        decompressor.decompress(packed, kLimit).size() != plain.size() ||
        !std::equal(plain.data(), plain.data() + plain.size(), again.data()))
      __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
