#include "repo/pack_writer.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <mutex>

#include "base/endian.h"
#include "base/error.h"
#include "crypto/crypto.h"
#include "repo/pack.h"

namespace respaldo::repo {

namespace {
constexpr std::uint64_t kBlobsInIndexFile = 50000;  // as restic
// As BlobWriter: what an interrupted run has stored until then is not stored again.
constexpr std::chrono::seconds kIndexInterval{20};
constexpr std::size_t kLongestContainer = (1U << 30) + crypto::kOverhead;
}  // namespace

struct PackWriter::Impl {
  struct OpenPack {
    Bytes bytes;
    std::vector<PackedBlob> blobs;
  };

  Repository& repository;
  const std::uint64_t pack_size;
  mutable std::mutex mutex{};
  std::array<OpenPack, 2> packs{};
  crypto::Cipher cipher;
  std::vector<PackContents> untold{};  // stored, and in no index file yet
  std::chrono::steady_clock::time_point last_index = std::chrono::steady_clock::now();
  std::uint64_t untold_blobs = 0, blobs = 0, plain_bytes = 0, stored_bytes = 0;

  Impl(Repository& r, std::uint64_t size) : repository(r), pack_size(size), cipher(r.master_key()) {}

  void add(PackedBlob blob, ByteView sealed) {
    OpenPack& pack = packs[static_cast<std::size_t>(blob.type)];
    if (pack.bytes.capacity() == 0) pack.bytes = Bytes(pack_size + (2U << 20));
    if (pack.blobs.empty()) pack.bytes.resize(0);
    const std::size_t at = pack.bytes.size();
    pack.bytes.resize(at + sealed.size());
    std::memcpy(pack.bytes.data() + at, sealed.data(), sealed.size());
    blob.offset = static_cast<std::uint32_t>(at);
    blob.length = static_cast<std::uint32_t>(sealed.size());
    pack.blobs.push_back(blob);
    ++blobs;
    stored_bytes += sealed.size();
    plain_bytes +=
        blob.uncompressed_length != 0 ? blob.uncompressed_length : sealed.size() - crypto::kOverhead;
    if (pack.bytes.size() >= pack_size || pack.blobs.size() >= kMostBlobsInPack) store(pack);
  }

  void store(OpenPack& pack) {
    if (pack.blobs.empty()) return;
    const Bytes header = cipher.seal(pack_header(pack.blobs));
    const std::size_t end = pack.bytes.size();
    pack.bytes.resize(end + header.size() + 4);
    std::memcpy(pack.bytes.data() + end, header.data(), header.size());
    store_le32(pack.bytes.data() + end + header.size(), static_cast<std::uint32_t>(header.size()));
    PackContents contents;
    contents.pack.bytes = crypto::sha256(pack.bytes);
    const ByteView whole = pack.bytes;
    repository.backend().save({store::FileType::pack, contents.pack.hex()}, std::span(&whole, 1),
                              store::Durability::at_sync);
    contents.blobs = std::move(pack.blobs);
    pack.blobs.clear();
    untold_blobs += contents.blobs.size();
    untold.push_back(std::move(contents));
    if (untold_blobs >= kBlobsInIndexFile || std::chrono::steady_clock::now() - last_index > kIndexInterval)
      write_index();
  }

  // An index must never name a pack that a power cut could still take.
  void write_index() {
    if (untold.empty()) return;
    repository.backend().sync();
    repository.save_unpacked(store::FileType::index, to_json(untold), store::Durability::now);
    untold.clear();
    untold_blobs = 0;
    last_index = std::chrono::steady_clock::now();
  }
};

PackWriter::PackWriter(Repository& repository, std::uint64_t pack_size)
    : impl_(std::make_unique<Impl>(repository, pack_size)) {}
PackWriter::~PackWriter() = default;

void PackWriter::add(BlobType type, const BlobId& id, ByteView sealed, std::uint32_t uncompressed_length) {
  if (sealed.size() < crypto::kOverhead || sealed.size() > kLongestContainer)
    throw Error(ErrorKind::internal, fmt::format("a container of {} bytes cannot be stored", sealed.size()));
  std::lock_guard lock(impl_->mutex);
  impl_->add({type, id, 0, 0, uncompressed_length}, sealed);
}

void PackWriter::finish() {
  std::lock_guard lock(impl_->mutex);
  for (auto& pack : impl_->packs) impl_->store(pack);
  impl_->write_index();
}

std::uint64_t PackWriter::blobs() const { return impl_->blobs; }
std::uint64_t PackWriter::plain_bytes() const { return impl_->plain_bytes; }
std::uint64_t PackWriter::stored_bytes() const { return impl_->stored_bytes; }

}  // namespace respaldo::repo
