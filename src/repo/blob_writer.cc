#include "repo/blob_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <optional>

#include "base/endian.h"
#include "repo/compression.h"
#include "repo/id_set.h"
#include "repo/pack.h"

namespace respaldo::repo {

namespace {

constexpr std::size_t kLongestDataBlob = 16U << 20;
// An index file is written at least so often: what an interrupted run has stored until then is known to the
// next one, and not stored again.
constexpr std::chrono::seconds kIndexInterval{20};

void add(std::atomic<std::uint64_t>& counter, std::uint64_t n) {
  counter.fetch_add(n, std::memory_order_relaxed);
}

}  // namespace

struct BlobWriter::Impl {
  Impl(const IndexedRepository& r, const WriterOptions& o) : indexed(r), options(o) {}

  const IndexedRepository& indexed;
  WriterOptions options;
  IdSet fresh_data, fresh_trees;
  std::atomic<std::uint64_t> data_blobs{0}, tree_blobs{0}, new_bytes{0}, packed_bytes{0}, known_blobs{0},
      known_bytes{0};
  std::atomic<int> open_lanes{0};
  std::mutex mutex;
  std::vector<PackContents> pending;  // stored packs that no index file tells yet
  std::uint64_t pending_blobs = 0;
  std::chrono::steady_clock::time_point last_index = std::chrono::steady_clock::now();
  std::mutex beginning;
  std::optional<Error> failure;
  bool cancelled = false;
  std::future<void> index_written;  // last: what writes it uses the others

  void add_pack(PackContents pack) {
    std::vector<PackContents> full;
    {
      std::lock_guard lock(mutex);
      pending_blobs += pack.blobs.size();
      pending.push_back(std::move(pack));
      const auto now = std::chrono::steady_clock::now();
      if (pending_blobs < options.index_blobs && now - last_index < kIndexInterval) return;
      last_index = now;
      full.swap(pending);
      pending_blobs = 0;
    }
    begin_index(std::move(full));
  }
  // Others go on while its writer waits for all packs under way. One at a time, and one that fails fails the run.
  void begin_index(std::vector<PackContents> packs) {
    std::lock_guard lock(beginning);
    settle_index();
    try {
      index_written = std::async([this, full = std::move(packs)] { write_index(full); });
    } catch (const std::exception& error) {
      failure = Error(ErrorKind::io, fmt::format("an index cannot be written: {}", error.what()));
      throw Error(*failure);
    }
  }
  void end_index() {
    std::lock_guard lock(beginning);
    settle_index();
  }
  // With `beginning`. What an index that failed would have named is named nowhere: each time. A copy: whoever catches it
  // adds context.
  void settle_index() {
    if (index_written.valid()) try {
        index_written.get();
      } catch (const Cancelled&) {
        cancelled = true;
      } catch (const Error& error) {
        failure = error;
      } catch (const std::exception& error) {
        failure = Error(ErrorKind::internal, error.what());
      }
    if (failure) throw Error(*failure);
    if (cancelled) throw Cancelled();
  }
  // An index must never name a pack that a power cut could still take.
  void write_index(const std::vector<PackContents>& packs) {
    if (packs.empty()) return;
    Repository& repository = indexed.repository();
    repository.backend().sync();
    repository.save_unpacked(store::FileType::index, to_json(packs), store::Durability::now);
  }
};

struct BlobWriter::Lane::Impl {
  explicit Impl(BlobWriter::Impl& s)
      : shared(s), cipher(s.indexed.repository().master_key()), compressor(s.options.compression_level) {
    ++shared.open_lanes;
  }
  ~Impl() { end(); }

  struct OpenPack {
    Bytes bytes;  // sealed blobs, one after the other
    std::vector<PackedBlob> blobs;
  };

  BlobWriter::Impl& shared;
  crypto::Cipher cipher;
  Compressor compressor;
  Decompressor decompressor;
  Bytes packed, check;  // scratch
  std::array<OpenPack, 2> packs;
  bool open = true;
  std::uint64_t stored = 0;  // data blobs

  void end() {
    if (!open) return;
    open = false;
    --shared.open_lanes;
  }

  void store(BlobType type, const BlobId& id, ByteView plain) {
    const bool may_compress = shared.indexed.repository().config().version >= 2;
    ByteView body = plain;
    PackedBlob blob{type, id, 0, 0, 0};
    // Trees are always compressed: prune would repack them otherwise.
    if (may_compress && (type == BlobType::tree || compressor.worthwhile(plain))) {
      if (packed.size() < Compressor::bound(plain.size())) packed = Bytes(Compressor::bound(plain.size()));
      const std::size_t length = compressor.compress(plain, packed);
      if (length == 0) throw Error(ErrorKind::internal, "zstd failed");
      if (type == BlobType::tree || length < plain.size()) {
        body = packed.view(0, length);
        blob.uncompressed_length = static_cast<std::uint32_t>(plain.size());
      }
    }
    OpenPack& pack = packs[static_cast<std::size_t>(type)];
    const std::size_t length = body.size() + crypto::kOverhead;
    // Room for the blob that makes it full, and for its header: growing would copy the pack.
    if (pack.bytes.capacity() == 0) pack.bytes = Bytes(shared.options.pack_size + kLongestDataBlob + (2U << 20));
    if (pack.blobs.empty()) pack.bytes.resize(0);
    const std::size_t at = pack.bytes.size();
    pack.bytes.resize(at + length);
    cipher.seal(body, pack.bytes.span().subspan(at, length));
    blob.offset = static_cast<std::uint32_t>(at);
    blob.length = static_cast<std::uint32_t>(length);
    if (type == BlobType::tree || stored++ % std::max(shared.options.verify_every, 1U) == 0)
      verify(pack.bytes.view(at, length), blob, plain);
    pack.blobs.push_back(blob);
    add(shared.new_bytes, plain.size());
    add(shared.packed_bytes, length);
    add(type == BlobType::tree ? shared.tree_blobs : shared.data_blobs, 1);
    if (pack.bytes.size() >= shared.options.pack_size || pack.blobs.size() >= kMostBlobsInPack)
      finish_pack(pack);
  }

  // What was stored must be what was given: memory and compressors have been known to fail.
  void verify(ByteView sealed, const PackedBlob& blob, ByteView plain) {
    const std::size_t body = sealed.size() - crypto::kOverhead;
    const std::size_t needed = body + (blob.uncompressed_length != 0 ? plain.size() : 0);
    if (check.size() < needed) check = Bytes(needed);
    bool good = cipher.open(sealed, check.span().first(body));
    ByteView opened = check.view(0, body);
    if (good && blob.uncompressed_length != 0) {
      const MutableBytes unpacked = check.span().subspan(body, plain.size());
      good = decompressor.decompress(opened, unpacked);
      opened = unpacked;
    }
    if (!good || opened.size() != plain.size() || std::memcmp(opened.data(), plain.data(), plain.size()) != 0)
      throw Error(
          ErrorKind::internal,
          fmt::format("blob {} did not read back as it was written: the machine's memory may be faulty",
                      blob.id.short_hex()),
          "test the memory of this machine before trusting it with a backup");
  }

  void finish_pack(OpenPack& pack) {
    if (pack.blobs.empty()) return;
    const Bytes header = cipher.seal(pack_header(pack.blobs));
    const std::size_t end_of_blobs = pack.bytes.size();
    pack.bytes.resize(end_of_blobs + header.size() + 4);
    std::memcpy(pack.bytes.data() + end_of_blobs, header.data(), header.size());
    store_le32(pack.bytes.data() + end_of_blobs + header.size(), static_cast<std::uint32_t>(header.size()));
    PackContents contents;
    contents.pack.bytes = crypto::sha256(pack.bytes);
    contents.blobs = std::move(pack.blobs);
    const ByteView whole = pack.bytes;
    shared.indexed.repository().backend().save({store::FileType::pack, contents.pack.hex()},
                                               std::span(&whole, 1), store::Durability::at_sync);
    if (&pack == &packs[static_cast<std::size_t>(BlobType::tree)])
      shared.indexed.repository().keep_tree_pack(contents.pack, whole);
    pack.blobs.clear();
    shared.add_pack(std::move(contents));
  }
};

BlobWriter::BlobWriter(const IndexedRepository& repository, const WriterOptions& options)
    : impl_(std::make_unique<Impl>(repository, options)) {}
BlobWriter::~BlobWriter() = default;

std::unique_ptr<BlobWriter::Lane> BlobWriter::open_lane() {
  return std::unique_ptr<Lane>(new Lane(std::make_unique<Lane::Impl>(*impl_)));
}

BlobWriter::Lane::Lane(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BlobWriter::Lane::~Lane() {
  // A lane given up with blobs in it keeps finish() from succeeding.
  if (impl_ && (!impl_->packs[0].blobs.empty() || !impl_->packs[1].blobs.empty())) impl_->open = false;
}

SaveResult BlobWriter::Lane::save(BlobType type, ByteView plain) {
  return save(type, BlobId{crypto::sha256(plain)}, plain);
}

SaveResult BlobWriter::Lane::save(BlobType type, const BlobId& id, ByteView plain) {
  if (plain.empty() || plain.size() > (type == BlobType::tree ? kLongestTree : kLongestDataBlob))
    throw Error(ErrorKind::internal, fmt::format("a blob of {} bytes cannot be stored", plain.size()));
  BlobWriter::Impl& shared = impl_->shared;
  IdSet& fresh = type == BlobType::tree ? shared.fresh_trees : shared.fresh_data;
  if (shared.indexed.index().contains(type, id) || !fresh.insert(id)) {
    add(shared.known_blobs, 1);
    add(shared.known_bytes, plain.size());
    return {id, false};
  }
  impl_->store(type, id, plain);
  return {id, true};
}

void BlobWriter::Lane::close() {
  for (auto& pack : impl_->packs) impl_->finish_pack(pack);
  impl_->end();
}

void BlobWriter::finish() {
  if (impl_->open_lanes != 0) throw Error(ErrorKind::internal, "finish() before every lane was closed");
  store::Backend& backend = impl_->indexed.repository().backend();
  impl_->end_index();
  if (!impl_->pending.empty()) backend.will_save(store::FileType::index);
  backend.sync();
  impl_->write_index(impl_->pending);
  impl_->pending.clear();
  impl_->pending_blobs = 0;
}

WriterTotals BlobWriter::totals() const {
  return {impl_->data_blobs,   impl_->tree_blobs,  impl_->new_bytes,
          impl_->packed_bytes, impl_->known_blobs, impl_->known_bytes};
}

SnapshotId save_snapshot(Repository& repository, const Snapshot& snapshot) {
  return *SnapshotId::parse(
      repository.save_unpacked(store::FileType::snapshot, to_json(snapshot), store::Durability::now));
}

}  // namespace respaldo::repo
