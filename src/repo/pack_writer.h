// Sealed blobs into new packs, as they are: for prune, repair and copy. (Backups use BlobWriter.)
#pragma once

#include <cstdint>
#include <memory>

#include "repo/repository.h"

namespace respaldo::repo {

// Thread-safe: one open pack for each type of blob, whatever the number of threads.
class PackWriter {
 public:
  // pack_size: target bytes of a pack.
  explicit PackWriter(Repository& repository, std::uint64_t pack_size = 16U << 20);
  ~PackWriter();  // without finish(): packs already stored stay, in no index

  // `sealed` is a container made with this repository's key; uncompressed_length as in BlobLocation. The
  // caller has verified it, and gives each blob once.
  void add(BlobType type, const BlobId& id, ByteView sealed, std::uint32_t uncompressed_length);
  // Stores what is left: all packs durable, then index files that tell them durable. add() may go on
  // afterwards.
  void finish();

  std::uint64_t blobs() const;
  std::uint64_t plain_bytes() const;   // of all blobs
  std::uint64_t stored_bytes() const;  // of their containers

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace respaldo::repo
