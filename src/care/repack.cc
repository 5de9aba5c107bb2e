#include "care/repack.h"

#include <fmt/format.h>

#include "base/error.h"
#include "care/pack_pieces.h"
#include "crypto/crypto.h"
#include "os/thread_group.h"
#include "repo/compression.h"
#include "repo/index_numbers.h"
#include "repo/pack_writer.h"

namespace respaldo::care {

namespace {

using repo::BlobLocation;
using repo::BlobType;
using repo::PackContents;
using repo::PackedBlob;

// One thread's part.
class Worker {
 public:
  Worker(const repo::IndexedRepository& repository, PrunePlan& plan, const RepackOptions& options,
         repo::PackWriter& writer)
      : repository_(repository),
        plan_(plan),
        options_(options),
        writer_(writer),
        cipher_(repository.repository().master_key()),
        compressor_(repo::kAutoLevel) {}

  // `pack` holds only what is to be copied, by offset.
  void run(const PackContents& pack, Progress& progress, const std::stop_token& stop) {
    for (std::size_t first = 0; first < pack.blobs.size();) {
      os::throw_if_stopped(stop);
      const PackPiece piece = next_piece(pack, first);
      copy_piece(pack, piece);
      progress.advance(piece.end - piece.begin);
      first = piece.last;
    }
  }

 private:
  void copy_piece(const PackContents& pack, const PackPiece& piece) {
    Bytes bytes;
    try {
      bytes = repository_.repository().backend().load({store::FileType::pack, pack.pack.hex()}, piece.begin,
                                                      piece.end - piece.begin);
    } catch (const Error&) {
      // Blob by blob below, from wherever there is a copy.
    }
    for (std::size_t i = piece.first; i < piece.last; ++i) {
      const PackedBlob& blob = pack.blobs[i];
      const std::uint64_t number = repo::blob_number(repository_.index(), blob.type, blob.id)->number;
      if (!plan_.to_copy.contains(number)) continue;  // copied out of another pack meanwhile
      if (bytes.empty() || !copy(pack, blob, bytes.view(blob.offset - piece.begin, blob.length), number))
        copy_from_anywhere(blob, number);
    }
  }

  // False when the container is damaged.
  bool copy(const PackContents& pack, const PackedBlob& blob, ByteView container, std::uint64_t number) {
    Bytes plain;
    try {
      plain = repository_.repository().decode_blob(
          blob.type, blob.id, {pack.pack, blob.offset, blob.length, blob.uncompressed_length}, container,
          cipher_);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      return false;
    }
    const bool as_it_is = blob.uncompressed_length != 0 || !may_compress(blob.type);
    if (as_it_is || !save_compressed(blob, plain, number))
      save(blob, container, blob.uncompressed_length, number);
    return true;
  }

  void copy_from_anywhere(const PackedBlob& blob, std::uint64_t number) {
    const Bytes plain =
        in_context([&] { return "nothing was removed; a blob that backups need cannot be read"; },
                   [&] { return repository_.load_blob(blob.type, blob.id); });
    if (!may_compress(blob.type) || !save_compressed(blob, plain, number))
      save(blob, cipher_.seal(plain), 0, number);
  }

  bool may_compress(BlobType type) const {
    return repository_.repository().config().version >= 2 && (type == BlobType::tree || options_.compress);
  }

  // False when it is not worth it.
  bool save_compressed(const PackedBlob& blob, ByteView plain, std::uint64_t number) {
    Bytes packed(repo::Compressor::bound(plain.size()));
    const std::size_t length = compressor_.compress(plain, packed);
    if (length == 0 || (blob.type == BlobType::data && length >= plain.size())) return false;
    save(blob, cipher_.seal(packed.view(0, length)), static_cast<std::uint32_t>(plain.size()), number);
    return true;
  }

  void save(const PackedBlob& blob, ByteView sealed, std::uint32_t uncompressed_length,
            std::uint64_t number) {
    if (plan_.to_copy.erase(number)) writer_.add(blob.type, blob.id, sealed, uncompressed_length);
  }

  const repo::IndexedRepository& repository_;
  PrunePlan& plan_;
  const RepackOptions& options_;
  repo::PackWriter& writer_;
  crypto::Cipher cipher_;
  repo::Compressor compressor_;
};

}  // namespace

void repack(const repo::IndexedRepository& repository, PrunePlan& plan, const RepackOptions& options,
            Progress& progress, const std::stop_token& stop) {
  const ProgressPhase phase(progress, "repacking", plan.stats.bytes.repack - plan.stats.bytes.repack_remove);
  repo::PackWriter writer(repository.repository(), options.pack_size);
  os::BoundedQueue<PackContents> queue(1);
  os::ThreadGroup workers(stop);
  for (unsigned i = 0; i < options.threads; ++i)
    workers.spawn([&](const std::stop_token& token) {
      Worker worker(repository, plan, options, writer);
      while (auto pack = queue.pop(token)) worker.run(*pack, progress, token);
    });
  std::size_t number = 0;
  repository.index().for_each_pack([&](const PackContents& pack) {
    if (plan.fates[number++] != PackFate::repack) return;
    PackContents wanted{pack.pack, {}};
    for (const PackedBlob& blob : pack.blobs)
      if (plan.to_copy.contains(repo::blob_number(repository.index(), blob.type, blob.id)->number))
        wanted.blobs.push_back(blob);
    if (!wanted.blobs.empty()) queue.push(std::move(wanted), workers.token());
  });
  queue.close();
  workers.join();
  if (const std::uint64_t left = plan.to_copy.count(); left > 0)
    throw Error(ErrorKind::internal, fmt::format("{} blobs were not copied; nothing was removed", left));
  writer.finish();
}

}  // namespace respaldo::care
