// zstd for blobs and unpacked files. Each object belongs to one thread.
#pragma once

#include <memory>

#include "base/bytes.h"

namespace respaldo::repo {

// What fits blobs best: a third faster than zstd's level 3, and 3 % larger (docs/decisions/0008-compression.md).
inline constexpr int kAutoLevel = 0;

class Compressor {
 public:
  explicit Compressor(int level);  // zstd's, or kAutoLevel
  ~Compressor();
  // Bytes that compress() may need for `size` bytes of input.
  static std::size_t bound(std::size_t size);
  // Length of the frame written to out; 0 when it does not fit.
  std::size_t compress(ByteView plain, MutableBytes out);
  // False when a quick try on a sample says that compressing is a waste of time.
  bool worthwhile(ByteView plain);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  // True when the frames of `packed` hold exactly out.size() bytes.
  bool decompress(ByteView packed, MutableBytes out);
  // For frames that do not tell their length: at most `limit` bytes, else Error(corrupt).
  Bytes decompress(ByteView packed, std::uint64_t limit);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace respaldo::repo
