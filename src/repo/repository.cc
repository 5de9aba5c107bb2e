#include "repo/repository.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_set>

#include "base/endian.h"
#include "base/printable.h"
#include "base/units.h"
#include "chunk/polynomial.h"
#include "os/thread_group.h"
#include "repo/compression.h"
#include "repo/json_reader.h"
#include "repo/keys.h"
#include "repo/pack.h"
#include "repo/references.h"

namespace respaldo::repo {

namespace {

using store::FileType;
using store::Handle;

constexpr std::uint64_t kLongestKeyFile = 1U << 20, kLongestConfig = 1U << 20;
// An index, snapshot or lock, unpacked. restic's own indexes end at about 10 MiB; reading JSON takes several
// times its length.
constexpr std::uint64_t kLongestDocument = 256U << 20;
// Plain bytes of a blob. restic cuts data at 8 MiB; trees grow with the entries of a folder.
constexpr std::uint64_t kLongestData = 256U << 20;
constexpr std::uint64_t kLargeIndex = 4U << 20;                   // stored bytes
constexpr unsigned kIndexReaders = 4;                             // each holds one file, unpacked
constexpr std::size_t kJsonPadding = simdjson::SIMDJSON_PADDING;  // whoever reads JSON need not copy it
constexpr int kUnpackedLevel = 3;
constexpr std::uint8_t kCompressedMark = 2;
constexpr std::size_t kMostKeys = 20;  // restic tries no more

std::string hex_digest(ByteView bytes) { return to_hex(crypto::sha256(bytes)); }

Config parse_config(ByteView json) {
  const JsonDocument document(json, "configuration");
  Config config;
  config.version =
      static_cast<std::uint32_t>(unsigned_member(document.root(), "version", UINT32_MAX).value_or(0));
  config.id = text_member(document.root(), "id").value_or("");
  config.polynomial = text_member(document.root(), "chunker_polynomial").value_or("");
  if (config.version != 1 && config.version != 2)
    throw Error(ErrorKind::unsupported, fmt::format("the repository has format version {}", config.version),
                "respaldo reads versions 1 and 2; a newer respaldo may read it");
  return config;
}

std::string random_polynomial() {
  for (;;) {
    std::array<std::uint8_t, 8> bits;
    crypto::random_bytes(bits);
    if (const auto p = chunk::polynomial_from(load_le64(bits.data())); p != 0) return fmt::format("{:x}", p);
  }
}

bool holds_only_trees(const PackContents& pack) {
  return std::ranges::all_of(pack.blobs, [](const PackedBlob& blob) { return blob.type == BlobType::tree; });
}

std::function<bool(const std::string&)> is_one_of(std::vector<PackId> packs) {
  std::ranges::sort(packs);
  return [packs = std::move(packs)](const std::string& name) {
    const auto id = PackId::parse(name);
    return id && std::ranges::binary_search(packs, *id);
  };
}

// What one thread needs to decode blobs.
struct Codec {
  explicit Codec(const crypto::MasterKey& master) : cipher(master) {}
  crypto::Cipher cipher;
  Decompressor decompressor;
};

}  // namespace

struct Repository::Impl {
  std::unique_ptr<store::Backend> backend;
  crypto::MasterKey master;
  Config config;
  KeyId current_key;
  std::string key_file;
  store::CachingBackend* cache = nullptr;
  std::mutex mutex;
  std::vector<std::unique_ptr<Codec>> idle;

  // Contexts are dear to make: threads borrow them.
  template <class Body>
  auto with_codec(Body body) {
    std::unique_ptr<Codec> codec;
    {
      std::lock_guard lock(mutex);
      if (!idle.empty()) {
        codec = std::move(idle.back());
        idle.pop_back();
      }
    }
    if (!codec) codec = std::make_unique<Codec>(master);
    auto result = body(*codec);
    std::lock_guard lock(mutex);
    idle.push_back(std::move(codec));
    return result;
  }

  void save(FileType type, const std::string& name, ByteView bytes, store::Durability durability) {
    backend->save({type, name}, std::span(&bytes, 1), durability);
  }
};

Repository::Repository(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Repository::~Repository() = default;

namespace {
bool is_cut_off(store::Backend& backend) {
  try {
    return !backend.stat({FileType::config, ""}) && backend.list(FileType::snapshot).empty() &&
           !backend.list(FileType::key).empty();
  } catch (const Error&) {
    return false;
  }
}
}  // namespace

std::unique_ptr<Repository> Repository::create(std::unique_ptr<store::Backend> backend,
                                               std::string_view password, const CreateOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->master = crypto::MasterKey::random();
  std::array<std::uint8_t, 32> id;
  crypto::random_bytes(id);
  impl->config = {options.version, to_hex(id), random_polynomial()};
  const std::string key =
      make_key_file(impl->master, password, options.scrypt ? *options.scrypt : crypto::calibrate_scrypt());
  try {
    backend->create();
  } catch (Error& error) {
    if (error.kind() == ErrorKind::refused && is_cut_off(*backend))
      throw Error(ErrorKind::refused,
                  fmt::format("{} holds keys, and neither a config nor a backup: an `init` was cut off there, or a "
                              "repository lost its config",
                              printable(backend->location())),
                  "after an `init` that was cut off, remove what is in its keys/ and run it again; a lost config comes back with "
                  "`respaldo check --repair` where there is parity");
    throw;
  }
  impl->backend = std::move(backend);
  const std::string key_name = hex_digest(as_bytes(key));
  impl->current_key = *KeyId::parse(key_name);
  impl->save(FileType::key, key_name, as_bytes(key), store::Durability::now);
  impl->key_file = key;
  // The configuration makes it a repository: it comes last.
  crypto::Cipher cipher(impl->master);
  const Bytes config =
      cipher.seal(as_bytes(fmt::format(R"({{"version":{},"id":"{}","chunker_polynomial":"{}"}})",
                                       impl->config.version, impl->config.id, impl->config.polynomial)));
  try {
    impl->save(FileType::config, "", config, store::Durability::now);
  } catch (...) {
    // Without it nobody can use the key, and with the key nobody can try again.
    try {
      if (!impl->backend->stat({FileType::config, ""})) impl->backend->remove({FileType::key, key_name});
    } catch (const std::exception&) {
      // The next attempt tells of it.
    }
    throw;
  }
  return std::unique_ptr<Repository>(new Repository(std::move(impl)));
}

std::unique_ptr<Repository> Repository::open(std::unique_ptr<store::Backend> backend,
                                             std::string_view password, KnownKey known) {
  auto impl = std::make_unique<Impl>();
  if (!backend->stat({FileType::config, ""}))
    throw Error(ErrorKind::not_found,
                fmt::format("there is no repository at {}", printable(backend->location())),
                "make one with `respaldo init`, or correct the path");
  std::vector<store::FileInfo> files = backend->list(FileType::key);
  std::ranges::sort(files, {}, [&](const store::FileInfo& file) {
    return std::pair(file.name != known.name, std::string_view(file.name));
  });
  std::string damaged;
  bool opened = false;
  for (std::size_t i = 0; i < files.size() && i < kMostKeys && !opened; ++i) {
    try {
      std::optional<crypto::MasterKey> master;
      Bytes json;
      if (files[i].name == known.name && known.master.valid()) {
        master = known.master.get();
      } else {
        json = backend->load_all({FileType::key, files[i].name}, kLongestKeyFile);
        master = open_key_file(parse_key_file(json), password);
      }
      if (!master) continue;
      impl->master = std::move(*master);
      impl->current_key = *KeyId::parse(files[i].name);
      impl->key_file = as_text(json);
      opened = true;
    } catch (const Error& error) {
      // It may have been taken away since the keys were listed.
      if (error.kind() == ErrorKind::not_found) continue;
      if (error.kind() != ErrorKind::corrupt) throw;
      damaged = fmt::format("; key {} is damaged: {}", files[i].name.substr(0, 8), error.what());
    }
  }
  if (!opened)
    throw Error(
        ErrorKind::wrong_key,
        fmt::format("no key of the repository at {} opens with this password{}",
                    printable(backend->location()), files.empty() ? "; it has no keys at all" : damaged),
        files.empty() || !damaged.empty()
            ? "`respaldo check --repair` brings keys back where there is parity; else take the folder `keys` from a copy "
              "of the repository"
            : "check the password; `key list` with a good one shows the keys");
  impl->backend = std::move(backend);
  auto repository = std::unique_ptr<Repository>(new Repository(std::move(impl)));
  Impl& self = *repository->impl_;
  const Bytes sealed = self.backend->load_all({FileType::config, ""}, kLongestConfig);
  const auto plain = crypto::Cipher(self.master).open(sealed);
  if (!plain)
    throw Error(ErrorKind::corrupt, "the repository's configuration is damaged",
                "`respaldo check --repair` heals it where there is parity; else bring the file `config` back from a copy of "
                "the repository");
  self.config = parse_config(*plain);
  return repository;
}

const Config& Repository::config() const { return impl_->config; }
const KeyId& Repository::current_key() const { return impl_->current_key; }
ByteView Repository::key_file() const { return as_bytes(impl_->key_file); }
store::Backend& Repository::backend() { return *impl_->backend; }
const crypto::MasterKey& Repository::master_key() const { return impl_->master; }

std::vector<KeyInfo> Repository::keys() {
  std::vector<KeyInfo> keys;
  for (const store::FileInfo& info : impl_->backend->list(FileType::key)) {
    KeyInfo key;
    key.id = *KeyId::parse(info.name);
    key.current = key.id == impl_->current_key;
    try {
      const KeyFile file =
          parse_key_file(impl_->backend->load_all({FileType::key, info.name}, kLongestKeyFile));
      key.username = file.username;
      key.hostname = file.hostname;
      key.created = file.created;
    } catch (const Error& error) {
      key.problem = error.what();
    }
    keys.push_back(std::move(key));
  }
  std::sort(keys.begin(), keys.end(), [](const KeyInfo& a, const KeyInfo& b) {
    return std::tie(a.created.seconds, a.id) < std::tie(b.created.seconds, b.id);
  });
  return keys;
}

KeyId Repository::add_key(std::string_view password, const std::optional<crypto::ScryptParameters>& scrypt) {
  const std::string json =
      make_key_file(impl_->master, password, scrypt ? *scrypt : crypto::calibrate_scrypt());
  const std::string name = hex_digest(as_bytes(json));
  impl_->save(FileType::key, name, as_bytes(json), store::Durability::now);
  return *KeyId::parse(name);
}

void Repository::remove_key(const KeyId& id) {
  if (id == impl_->current_key)
    throw Error(ErrorKind::refused, "this key is the one in use: the repository would be lost with it",
                "open the repository with another password, then remove this key");
  impl_->backend->remove({FileType::key, id.hex()});
}

void Repository::use_cache(store::CachingBackend& cache) {
  impl_->cache = &cache;
  cache.use(impl_->config.id);
}

void Repository::keep_tree_pack(const PackId& pack, ByteView bytes) {
  if (impl_->cache != nullptr) impl_->cache->keep_tree_pack(pack.hex(), bytes);
}

Bytes Repository::load_unpacked(FileType type, const std::string& name) {
  const Handle handle{type, name};
  return in_context([&] { return fmt::format("reading {}", handle.str()); },
                    [&] {
                      const Bytes sealed = impl_->backend->load_all(handle);
                      if (hex_digest(sealed) != name)
                        throw Error(ErrorKind::corrupt,
                                    "its contents do not match its name: the file is damaged");
                      return impl_->with_codec([&](Codec& codec) {
                        auto plain = codec.cipher.open(sealed);
                        if (!plain)
                          throw Error(ErrorKind::corrupt, "it does not open with the repository's key");
                        if (plain->empty()) throw Error(ErrorKind::corrupt, "it is empty");
                        const std::uint8_t first = plain->data()[0];
                        if (first == '{' || first == '[') return std::move(*plain);
                        if (first != kCompressedMark)
                          throw Error(ErrorKind::corrupt, fmt::format("it begins with byte {:#x}", first));
                        return codec.decompressor.decompress(plain->view().subspan(1), kLongestDocument);
                      });
                    });
}

std::string Repository::save_unpacked(FileType type, std::string_view json, store::Durability durability,
                                      std::string* begun) {
  Bytes plain;
  if (impl_->config.version >= 2) {
    plain = Bytes(1 + Compressor::bound(json.size()));
    plain.data()[0] = kCompressedMark;
    const std::size_t length = Compressor(kUnpackedLevel).compress(as_bytes(json), plain.span().subspan(1));
    if (length == 0) throw Error(ErrorKind::internal, "zstd failed");
    plain.resize(1 + length);
  } else {
    plain = Bytes::copy_of(as_bytes(json));
  }
  const Bytes sealed = impl_->with_codec([&](Codec& codec) { return codec.cipher.seal(plain); });
  const std::string name = hex_digest(sealed);
  if (begun != nullptr) *begun = name;
  try {
    impl_->save(type, name, sealed, durability);
  } catch (const Cancelled&) {
    // The stop may have come behind it, while the answer was on its way.
    try {
      if (const auto found = impl_->backend->stat({type, name}); found && found->size == sealed.size()) {
        impl_->backend->sync();  // its flush may have been cut off
        return name;
      }
    } catch (const std::exception&) {
      // Nobody can tell.
    }
    throw;
  }
  return name;
}

namespace {

constexpr const char* kDamagedIndex =
    "`respaldo check --repair` heals it where there is parity; else `respaldo repair index` makes it anew "
    "from the "
    "packs";
constexpr const char* kDamagedSnapshot =
    "`respaldo check --repair` heals it where there is parity; else `respaldo repair snapshots --forget` "
    "removes it";

[[noreturn]] void rethrow(Error& error, const char* hint) {
  if (error.kind() == ErrorKind::corrupt && error.hint().empty()) error.set_hint(hint);
  throw;
}

}  // namespace

std::vector<NamedSnapshot> Repository::snapshots(std::vector<std::string>* damaged) {
  std::vector<NamedSnapshot> all;
  for (const store::FileInfo& info : impl_->backend->list(FileType::snapshot)) {
    try {
      const Bytes json = load_unpacked(FileType::snapshot, info.name);
      all.push_back(
          {*SnapshotId::parse(info.name), in_context([&] { return "snapshot " + info.name.substr(0, 8); },
                                                     [&] { return parse_snapshot(json); })});
    } catch (Error& error) {
      if (error.kind() == ErrorKind::not_found) continue;  // removed since it was listed
      if (damaged == nullptr) rethrow(error, kDamagedSnapshot);
      damaged->push_back(error.what());
    }
  }
  std::sort(all.begin(), all.end(), [](const NamedSnapshot& a, const NamedSnapshot& b) {
    return std::tie(a.snapshot.time.seconds, a.snapshot.time.nanoseconds, a.id) <
           std::tie(b.snapshot.time.seconds, b.snapshot.time.nanoseconds, b.id);
  });
  return all;
}

Index Repository::load_index(Progress& progress, std::vector<std::string>* damaged, std::stop_token stop) {
  return load_index(false, progress, damaged, std::move(stop));
}

Index Repository::load_stored_index(Progress& progress, std::stop_token stop) {
  return load_index(true, progress, nullptr, std::move(stop));
}

Index Repository::load_index(bool stored_only, Progress& progress, std::vector<std::string>* damaged,
                             std::stop_token stop) {
  std::vector<store::FileInfo> files = impl_->backend->list(FileType::index);
  std::ranges::sort(files, {}, &store::FileInfo::name);
  std::unordered_set<std::string> stored;
  const auto list_packs = [&] {
    for (store::FileInfo& pack : impl_->backend->list(FileType::pack)) stored.insert(std::move(pack.name));
  };
  if (stored_only) list_packs();
  std::uint64_t total = 0;
  for (const store::FileInfo& file : files) total += file.size;
  ProgressPhase phase(progress, "loading the index", total);
  Index index;
  // No blob takes less of an index file than its ID. What is reserved and not needed is never touched.
  index.reserve(total / 32);
  std::vector<PackId> tree_packs;
  const auto add = [&](const PackContents& pack) {
    index.add(pack);
    if (impl_->cache != nullptr && holds_only_trees(pack)) tree_packs.push_back(pack.pack);
  };
  std::vector<PackContents> absent;
  std::mutex mutex;
  std::condition_variable_any turn_came;
  std::size_t turn = 0;  // the file whose packs are added next: one repository always makes the same index
  std::atomic<std::size_t> next{0};
  os::ThreadGroup threads(stop);
  const std::size_t workers =
      std::min<std::size_t>(std::clamp(std::thread::hardware_concurrency(), 1U, kIndexReaders), files.size());
  for (std::size_t w = 0; w < workers; ++w) {
    threads.spawn([&](std::stop_token token) {
      for (std::size_t i = next++; i < files.size(); i = next++) {
        os::throw_if_stopped(token);
        std::vector<PackContents> packs;
        std::string damage;
        try {
          Bytes json = load_unpacked(FileType::index, files[i].name);
          packs = in_context([&] { return "index " + files[i].name.substr(0, 8); },
                             [&] { return parse_index(std::move(json)); });
        } catch (Error& error) {
          if (damaged == nullptr) rethrow(error, kDamagedIndex);
          damage = error.what();
        }
        std::unique_lock lock(mutex);
        if (!turn_came.wait(lock, token, [&] { return turn == i; })) return;
        for (PackContents& pack : packs)
          if (stored_only && !stored.contains(pack.pack.hex()))
            absent.push_back(std::move(pack));
          else
            add(pack);
        if (!damage.empty()) damaged->push_back(std::move(damage));
        ++turn;
        turn_came.notify_all();
        lock.unlock();
        progress.advance(files[i].size);
      }
    });
  }
  threads.join();
  if (!absent.empty()) {
    // The packs may have been listed before the index files. Each is there before any of them names it.
    list_packs();
    for (const PackContents& pack : absent)
      if (stored.contains(pack.pack.hex())) add(pack);
  }
  index.freeze();
  if (impl_->cache != nullptr) impl_->cache->tree_packs(is_one_of(std::move(tree_packs)));
  // Parsing takes several times what is kept of a large index; the allocator would hold on to it.
  if (total > kLargeIndex) ::malloc_trim(0);
  return index;
}

namespace {

Error damaged_blob(const BlobId& id, const BlobLocation& location, std::string_view why) {
  return Error(ErrorKind::corrupt,
               fmt::format("blob {} at byte {} of pack {} is damaged: {}", id.short_hex(), location.offset,
                           location.pack.short_hex(), why),
               "run `respaldo check --read-data` to see how far the damage goes");
}

// Whoever wrote the index may claim anything: neither length is worth memory before it is found plausible.
void require_plausible(BlobType type, const BlobId& id, const BlobLocation& location) {
  const std::uint64_t longest = type == BlobType::tree ? kLongestTree : kLongestData;
  if (location.length < crypto::kOverhead || location.length > longest + crypto::kOverhead ||
      location.uncompressed_length > longest)
    throw damaged_blob(id, location,
                       fmt::format("its length of {} bytes cannot be right", location.plain_length()));
}

}  // namespace

Bytes Repository::read_blob(BlobType type, const BlobId& id, const BlobLocation& location) {
  require_plausible(type, id, location);
  const Bytes container =
      impl_->backend->load({FileType::pack, location.pack.hex()}, location.offset, location.length);
  return impl_->with_codec(
      [&](Codec& codec) { return decode_blob(type, id, location, container, codec.cipher); });
}

namespace {

// Opened and decompressed; whether it is what its ID says is still to be seen.
Bytes unsealed(BlobType type, const BlobId& id, const BlobLocation& location, ByteView sealed,
               crypto::Cipher& cipher) {
  require_plausible(type, id, location);
  auto opened = cipher.open(sealed);
  if (!opened) throw damaged_blob(id, location, "its seal is broken");
  if (location.uncompressed_length == 0) return std::move(*opened);
  // A lie about the length costs no more memory than zstd could have packed into the container.
  if (location.uncompressed_length / 65536 > opened->size() + 1)
    throw damaged_blob(id, location, "its length cannot be right");
  Bytes plain(location.uncompressed_length + kJsonPadding);
  plain.resize(location.uncompressed_length);
  thread_local Decompressor decompressor;
  if (!decompressor.decompress(*opened, plain))
    throw damaged_blob(id, location, "it does not decompress to its length");
  return plain;
}

Error other_contents(const BlobId& id, const BlobLocation& location) {
  return damaged_blob(id, location, "its contents do not match its ID");
}

}  // namespace

Bytes Repository::decode_blob(BlobType type, const BlobId& id, const BlobLocation& location, ByteView container,
                              crypto::Cipher& cipher) const {
  Bytes plain = unsealed(type, id, location, container, cipher);
  if (crypto::sha256(plain) != id.bytes) throw other_contents(id, location);
  return plain;
}

void Repository::decode_blobs(std::span<const Container> containers, crypto::Cipher& cipher,
                              const BlobTaker& take) const {
  constexpr std::size_t kMost = 32;
  constexpr std::uint64_t kBatch = 16 * kMiB;  // of plain bytes, or one blob
  std::array<Bytes, kMost> plain;
  std::array<std::optional<Error>, kMost> damage;
  std::array<ByteView, kMost> messages;
  std::array<crypto::Digest, kMost> digests;
  for (std::size_t first = 0, count = 0; first < containers.size(); first += count) {
    std::uint64_t under_way = 0;
    for (count = 0; count < kMost && first + count < containers.size(); ++count) {
      const Container& one = containers[first + count];
      // A long one is alone: hostile lengths must not add up.
      const std::uint64_t length = std::max(one.location.uncompressed_length, one.location.length);
      if (count > 0 && under_way + length > kBatch) break;
      under_way += length;
      damage[count].reset();
      try {
        plain[count] = unsealed(one.type, one.id, one.location, one.sealed, cipher);
      } catch (const Error& error) {
        damage[count] = error;
      }
      messages[count] = plain[count];
    }
    crypto::sha256_many(std::span(messages).first(count), std::span(digests).first(count));
    for (std::size_t i = 0; i < count; ++i) {
      const Container& one = containers[first + i];
      if (!damage[i] && digests[i] != one.id.bytes) damage[i] = other_contents(one.id, one.location);
      Bytes bytes = std::move(plain[i]);  // damaged ones are not kept for long, either
      if (damage[i])
        take(first + i, Bytes(), &*damage[i]);
      else
        take(first + i, std::move(bytes), nullptr);
    }
  }
}

PackContents Repository::read_pack_header(const PackId& pack, std::uint64_t pack_size) {
  const Handle handle{FileType::pack, pack.hex()};
  return in_context(
      [&] { return fmt::format("reading the header of {}", handle.str()); },
      [&] {
        if (pack_size < 4 + crypto::kOverhead)
          throw Error(ErrorKind::corrupt, "the pack is too short to be one");
        const Bytes tail = impl_->backend->load(handle, pack_size - 4, 4);
        const std::uint64_t length = load_le32(tail.data());
        if (length < crypto::kOverhead || length > kLongestPackHeader || length > pack_size - 4)
          throw Error(ErrorKind::corrupt, fmt::format("its header claims {} bytes", length));
        const Bytes sealed = impl_->backend->load(handle, pack_size - 4 - length, length);
        const auto plain = impl_->with_codec([&](Codec& codec) { return codec.cipher.open(sealed); });
        if (!plain) throw Error(ErrorKind::corrupt, "its header does not open");
        PackContents contents{pack, parse_pack_header(*plain)};
        if (Index::expected_pack_size(contents) != pack_size)
          throw Error(ErrorKind::corrupt, fmt::format("its header describes {} bytes, the file has {}",
                                                      Index::expected_pack_size(contents), pack_size));
        return contents;
      });
}

Bytes IndexedRepository::load_blob(BlobType type, const BlobId& id) const {
  const std::vector<BlobLocation> places = index_.find_all(type, id);
  if (places.empty())
    throw Error(
        ErrorKind::not_found,
        fmt::format("{} blob {} is in no index", type == BlobType::tree ? "tree" : "data", id.short_hex()),
        "run `respaldo check`");
  for (std::size_t i = 0; i + 1 < places.size(); ++i) {
    try {
      return repository_.read_blob(type, id, places[i]);
    } catch (const Error&) {
      // Another copy may be whole; the last one's error is told.
    }
  }
  return repository_.read_blob(type, id, places.back());
}

Tree IndexedRepository::load_tree(const BlobId& id) const {
  Bytes json = load_blob(BlobType::tree, id);
  return in_context([&] { return "tree " + id.short_hex(); }, [&] { return parse_next_tree(std::move(json)); });
}

namespace {

// Of "latest:VG/LV": "/VG/LV". Empty: of any volume.
std::string path_of_latest(std::string_view latest) {
  constexpr std::string_view kLatest = "latest";
  return latest == kLatest ? std::string() : "/" + std::string(latest.substr(kLatest.size() + 1));
}

}  // namespace

std::vector<NamedSnapshot> latest_of_hosts(const std::vector<NamedSnapshot>& all, std::string_view latest) {
  const auto time_of = [](const NamedSnapshot& one) {
    return std::pair(one.snapshot.time.seconds, one.snapshot.time.nanoseconds);
  };
  const std::string path = path_of_latest(latest);
  std::map<std::string_view, const NamedSnapshot*> newest;
  for (const NamedSnapshot& candidate : all) {
    // A volume's path is that of its device.
    if (!path.empty() && std::ranges::none_of(candidate.snapshot.paths, [&](const std::string& one) {
          return one == path || one == "/dev" + path;
        }))
      continue;
    const NamedSnapshot*& best = newest[candidate.snapshot.hostname];
    if (best == nullptr || time_of(candidate) >= time_of(*best)) best = &candidate;
  }
  std::vector<NamedSnapshot> found;
  for (const auto& [host, backup] : newest) found.push_back(*backup);
  std::ranges::stable_sort(found, std::greater{}, time_of);
  return found;
}

NamedSnapshot find_snapshot(const std::vector<NamedSnapshot>& all, std::string_view selector) {
  const std::string_view word = selector;
  if (word == "latest" || word.starts_with("latest:")) {
    const std::vector<NamedSnapshot> found = latest_of_hosts(all, word);
    if (!found.empty()) return found.front();
    const std::string path = path_of_latest(word);
    throw Error(ErrorKind::not_found,
                path.empty() ? std::string("the repository holds no backup")
                             : fmt::format("the repository holds no backup of {}",
                                           printable(path.substr(path.starts_with("/dev/") ? 5 : 1))),
                "`respaldo list` shows what there is");
  }
  std::vector<const NamedSnapshot*> matches;
  if (is_hex(word))
    for (const NamedSnapshot& candidate : all)
      if (candidate.id.hex().starts_with(word)) matches.push_back(&candidate);
  if (matches.empty())
    throw Error(ErrorKind::not_found, fmt::format("no backup has the ID {}", printable(word)),
                "`respaldo list` shows what there is; `latest` names the newest");
  if (matches.size() > 1) {
    std::string ids;
    for (const NamedSnapshot* match : matches)
      ids += (ids.empty() ? "" : ", ") + match->id.hex().substr(0, 16);
    throw Error(ErrorKind::usage,
                fmt::format("{} begins the IDs of {} backups", printable(word), matches.size()),
                "write more digits: " + ids);
  }
  return *matches.front();
}

}  // namespace respaldo::repo
