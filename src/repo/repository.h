// A restic repository, opened. docs/formats/restic.md.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "crypto/crypto.h"
#include "repo/id.h"
#include "repo/index.h"
#include "repo/snapshot.h"
#include "repo/tree.h"
#include "store/backend.h"
#include "store/cache.h"

namespace respaldo::repo {

struct Config {
  std::uint32_t version = 2;
  std::string id;          // 64 hex
  std::string polynomial;  // hex
};

struct KeyInfo {
  KeyId id;
  std::string username, hostname;
  Timestamp created;
  bool current = false;   // the one this repository was opened with
  std::string problem{};  // why the file cannot be read; empty when it can
};

// A snapshot and its id.
struct NamedSnapshot {
  SnapshotId id;
  Snapshot snapshot;
};

// A key whose file is at hand: what it opens to is found out while the store is asked whether it still has it.
struct KnownKey {
  std::string name{};  // empty: none
  std::future<std::optional<crypto::MasterKey>> master{};  // of derived_ahead()
};

// Opened: the master key is known. Thread-safe.
class Repository {
 public:
  struct CreateOptions {
    std::uint32_t version = 2;
    std::optional<crypto::ScryptParameters> scrypt;  // absent: crypto::calibrate_scrypt()
  };
  static std::unique_ptr<Repository> create(std::unique_ptr<store::Backend> backend,
                                            std::string_view password, const CreateOptions& options);
  // Error(wrong_key) when no key opens with this password; Error(not_found) when there is no repository.
  // The known key is tried first, when the store has it.
  static std::unique_ptr<Repository> open(std::unique_ptr<store::Backend> backend, std::string_view password,
                                          KnownKey known = {});
  ~Repository();

  const Config& config() const;
  const KeyId& current_key() const;  // the one that opened it
  ByteView key_file() const;         // its file, as it was made or loaded; empty when it was the known one
  store::Backend& backend();
  const crypto::MasterKey& master_key() const;

  std::vector<KeyInfo> keys();
  KeyId add_key(std::string_view password, const std::optional<crypto::ScryptParameters>& scrypt = {});
  void remove_key(const KeyId& id);  // Error(refused) for the current one

  // Index, snapshot and lock files: decoded JSON both ways (compressed in version 2). load checks hash and
  // tag.
  Bytes load_unpacked(store::FileType type, const std::string& name);
  // -> its name, which `begun` gets before anything is sent. Cancelled when it is not there, or nobody can tell.
  std::string save_unpacked(store::FileType type, std::string_view json, store::Durability durability,
                            std::string* begun = nullptr);

  // Unreadable snapshot files are told in `damaged` (or thrown when null), not skipped silently. Oldest
  // first.
  std::vector<NamedSnapshot> snapshots(std::vector<std::string>* damaged = nullptr);
  // Loads all index files, in parallel. Damaged ones are told in `damaged`, or thrown when null.
  Index load_index(Progress& progress, std::vector<std::string>* damaged = nullptr,
                   std::stop_token stop = {});
  // The same without packs that are not there, for who adds blobs: what they held is stored again.
  Index load_stored_index(Progress& progress, std::stop_token stop = {});

  // The cache, one of the layers of backend(), is used from here on: it learns which packs hold only trees.
  void use_cache(store::CachingBackend& cache);
  // Such a pack was just saved.
  void keep_tree_pack(const PackId& pack, ByteView bytes);

  // One blob out of one location: read, open, decompress, hash checked. Error(corrupt) names pack, offset,
  // blob.
  Bytes read_blob(BlobType type, const BlobId& id, const BlobLocation& location);
  // The same for a container already in memory. `cipher` belongs to the calling thread.
  Bytes decode_blob(BlobType type, const BlobId& id, const BlobLocation& location, ByteView container,
                    crypto::Cipher& cipher) const;
  // Several of them: their hashes are reckoned together, which is faster. `take` gets each in its order, with
  // its plain bytes or with what is wrong with it, on this thread.
  struct Container {
    BlobType type;
    BlobId id;
    BlobLocation location;
    ByteView sealed;
  };
  using BlobTaker = std::function<void(std::size_t number, Bytes plain, const Error* damage)>;
  void decode_blobs(std::span<const Container> containers, crypto::Cipher& cipher, const BlobTaker& take) const;
  // The pack's own header, checked against the file size: its blobs in order.
  PackContents read_pack_header(const PackId& pack, std::uint64_t pack_size);

 private:
  struct Impl;
  explicit Repository(std::unique_ptr<Impl> impl);
  Index load_index(bool stored_only, Progress& progress, std::vector<std::string>* damaged,
                   std::stop_token stop);
  std::unique_ptr<Impl> impl_;
};

// Decodes a pack header (decrypted bytes). Offsets are running sums. Error(corrupt).
std::vector<PackedBlob> parse_pack_header(ByteView plain);

// A repository whose index is loaded: blobs can be looked up. Thread-safe.
class IndexedRepository {
 public:
  IndexedRepository(Repository& repository, Index index)
      : repository_(repository), index_(std::move(index)) {}
  Repository& repository() const { return repository_; }
  const Index& index() const { return index_; }
  // Reads a blob, trying every location before it gives up. Error(not_found) when the index has none.
  Bytes load_blob(BlobType type, const BlobId& id) const;
  Tree load_tree(const BlobId& id) const;

 private:
  Repository& repository_;
  Index index_;
};

// "a prefix of at least one digit", a full id, "latest", or "latest:VG/LV" (newest with that path).
// Error(not_found) or Error(usage: ambiguous, lists the candidates).
NamedSnapshot find_snapshot(const std::vector<NamedSnapshot>& all, std::string_view selector);
// What "latest" or "latest:VG/LV" may mean where several hosts save: the newest backup of each, newest first.
std::vector<NamedSnapshot> latest_of_hosts(const std::vector<NamedSnapshot>& all, std::string_view latest);

}  // namespace respaldo::repo
