// Where every blob lies: all index files of a repository, merged, in flat memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "repo/id.h"

namespace respaldo::repo {

struct BlobLocation {
  PackId pack;
  std::uint32_t offset = 0, length = 0;   // of the sealed container in the pack
  std::uint32_t uncompressed_length = 0;  // 0: stored uncompressed
  std::uint32_t plain_length() const { return uncompressed_length != 0 ? uncompressed_length : length - 32; }
};

struct PackedBlob {
  BlobType type = BlobType::data;
  BlobId id;
  std::uint32_t offset = 0, length = 0, uncompressed_length = 0;
};
struct PackContents {
  PackId pack;
  std::vector<PackedBlob> blobs;
};

// At most 48 bytes for each blob. Built by add() then freeze(); look-ups afterwards are thread-safe. Several
// locations of one blob are kept (a damaged pack can be read around).
class Index {
 public:
  Index();
  ~Index();
  Index(Index&&) noexcept;
  Index& operator=(Index&&) noexcept;

  void reserve(std::uint64_t blobs);
  void add(const PackContents& pack);
  void freeze();

  std::optional<BlobLocation> find(BlobType type, const BlobId& id) const;
  std::vector<BlobLocation> find_all(BlobType type, const BlobId& id) const;
  bool contains(BlobType type, const BlobId& id) const;
  std::uint64_t blob_count() const;  // locations
  std::uint64_t pack_count() const;
  std::vector<PackId> packs() const;
  // Visits packs one after the other, each with all its blobs sorted by offset.
  void for_each_pack(const std::function<void(const PackContents&)>& visit) const;
  // Size that a pack must have according to its blobs.
  static std::uint64_t expected_pack_size(const PackContents& pack);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// JSON of one index file, both ways. Error(corrupt) for what is not an index.
std::string to_json(const std::vector<PackContents>& packs);
std::vector<PackContents> parse_index(ByteView json);

}  // namespace respaldo::repo
