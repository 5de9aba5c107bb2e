// An index file from anywhere: read, merged with itself, looked up and walked; nothing is lost or made up.
#include "base/error.h"
#include "repo/index.h"

using namespace respaldo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<repo::PackContents> packs;
  try {
    packs = repo::parse_index({data, size});
  } catch (const Error&) {
    return 0;
  }
  const std::string once = repo::to_json(packs);
  if (repo::to_json(repo::parse_index(as_bytes(once))) != once) __builtin_trap();

  repo::Index index;
  std::uint64_t blobs = 0;
  for (const repo::PackContents& pack : packs) {
    index.add(pack);
    index.add(pack);  // two index files may tell of one pack
    blobs += pack.blobs.size();
  }
  index.freeze();
  if (index.blob_count() > blobs || index.pack_count() > packs.size()) __builtin_trap();
  for (const repo::PackContents& pack : packs)
    for (const repo::PackedBlob& blob : pack.blobs) {
      if (!index.find(blob.type, blob.id)) __builtin_trap();
      bool there = false;
      for (const repo::BlobLocation& place : index.find_all(blob.type, blob.id))
        there |= place.pack == pack.pack && place.offset == blob.offset;
      if (!there) __builtin_trap();
    }
  std::uint64_t visited = 0, visited_packs = 0;
  index.for_each_pack([&](const repo::PackContents& pack) {
    ++visited_packs;
    visited += pack.blobs.size();
    for (std::size_t i = 1; i < pack.blobs.size(); ++i)
      if (pack.blobs[i - 1].offset > pack.blobs[i].offset) __builtin_trap();
    std::uint64_t least = 0;
    for (const repo::PackedBlob& blob : pack.blobs) least += blob.length;
    if (repo::Index::expected_pack_size(pack) < least) __builtin_trap();
  });
  if (visited != index.blob_count() || visited_packs != index.pack_count()) __builtin_trap();
  return 0;
}
