#include "repo/pack.h"

#include <fmt/format.h>

#include "base/endian.h"
#include "base/error.h"
#include "repo/repository.h"

namespace respaldo::repo {

namespace {
constexpr std::size_t kPlainEntry = 37, kCompressedEntry = 41;
}

std::uint64_t header_entry_size(const PackedBlob& blob) {
  return blob.uncompressed_length != 0 ? kCompressedEntry : kPlainEntry;
}

Bytes pack_header(const std::vector<PackedBlob>& blobs) {
  std::size_t size = 0;
  for (const PackedBlob& blob : blobs) size += header_entry_size(blob);
  Bytes header(size);
  std::uint8_t* at = header.data();
  for (const PackedBlob& blob : blobs) {
    const bool compressed = blob.uncompressed_length != 0;
    *at++ = static_cast<std::uint8_t>((compressed ? 2 : 0) + (blob.type == BlobType::tree ? 1 : 0));
    store_le32(at, blob.length);
    at += 4;
    if (compressed) {
      store_le32(at, blob.uncompressed_length);
      at += 4;
    }
    std::memcpy(at, blob.id.bytes.data(), 32);
    at += 32;
  }
  return header;
}

std::vector<PackedBlob> parse_pack_header(ByteView plain) {
  std::vector<PackedBlob> blobs;
  std::uint64_t offset = 0;
  while (!plain.empty()) {
    const std::uint8_t kind = plain[0];
    if (kind > 3) throw Error(ErrorKind::corrupt, fmt::format("a pack header has an entry of kind {}", kind));
    const std::size_t size = kind >= 2 ? kCompressedEntry : kPlainEntry;
    if (plain.size() < size) throw Error(ErrorKind::corrupt, "a pack header ends in the middle of an entry");
    PackedBlob blob;
    blob.type = (kind & 1) != 0 ? BlobType::tree : BlobType::data;
    blob.length = load_le32(plain.data() + 1);
    if (kind >= 2) blob.uncompressed_length = load_le32(plain.data() + 5);
    if (kind >= 2 && blob.uncompressed_length == 0)
      throw Error(ErrorKind::corrupt, "a pack header has a compressed blob of no length");
    std::memcpy(blob.id.bytes.data(), plain.data() + size - 32, 32);
    if (blob.length < crypto::kOverhead || offset + blob.length > UINT32_MAX)
      throw Error(ErrorKind::corrupt,
                  fmt::format("a pack header has a blob of {} bytes at byte {}", blob.length, offset));
    blob.offset = static_cast<std::uint32_t>(offset);
    offset += blob.length;
    blobs.push_back(blob);
    plain = plain.subspan(size);
  }
  return blobs;
}

}  // namespace respaldo::repo
