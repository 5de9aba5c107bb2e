#include "verify/pack_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "crypto/crypto.h"
#include "os/thread_group.h"
#include "parity/parity_backend.h"
#include "repo/index_numbers.h"

namespace respaldo::verify {

namespace {

constexpr std::uint64_t kPiece = 16 * kMiB;          // bytes of a pack read in one go
constexpr std::uint64_t kLongestBlob = 1024 * kMiB;  // a container longer than this is not read

constexpr const char* kReadData = "what else the pack holds: respaldo check --read-data";
constexpr const char* kRepairPack = "`respaldo repair packs {}` saves what can still be read of it";
constexpr const char* kNewBackup =
    "backups that need it cannot be restored whole; a new backup stores again what the volume still holds";

std::unordered_map<repo::PackId, std::uint64_t> stored_packs(repo::Repository& repository) {
  std::unordered_map<repo::PackId, std::uint64_t> sizes;
  for (const store::FileInfo& file : repository.backend().list(store::FileType::pack))
    if (const auto id = repo::PackId::parse(file.name)) sizes.emplace(*id, file.size);
  return sizes;
}

std::uint64_t end_of(const repo::PackedBlob& blob) { return std::uint64_t{blob.offset} + blob.length; }

auto key(const repo::PackedBlob& blob) {
  return std::tie(blob.offset, blob.type, blob.id, blob.length, blob.uncompressed_length);
}

// One pack, read from front to back in pieces that end with a blob.
class PackReading {
 public:
  PackReading(const repo::IndexedRepository& repository, const repo::PackContents& pack, std::uint64_t size,
              crypto::Cipher& cipher, DamagedPlaces& damaged, Findings& findings)
      : repository_(repository),
        pack_(pack),
        size_(size),
        cipher_(cipher),
        damaged_(damaged),
        findings_(findings) {}

  void run(Progress& progress, const std::stop_token& stop) {
    std::size_t blob = 0;
    while (done_ < size_) {
      os::throw_if_stopped(stop);
      const std::size_t first = blob;
      const std::uint64_t end = piece_end(blob);
      const Bytes piece = repository_.repository().backend().load({store::FileType::pack, pack_.pack.hex()},
                                                                  done_, end - done_);
      hash_.update(piece);
      check_blobs(std::span(pack_.blobs).subspan(first, blob - first), piece);
      progress.advance(piece.size());
      done_ = end;
    }
    for (; blob < pack_.blobs.size(); ++blob) outside(pack_.blobs[blob]);
    if (hash_.finish() != pack_.pack.bytes) {
      findings_.damaged({store::FileType::pack, pack_.pack.hex()});
      findings_.add(Severity::error, "bad_pack_hash",
                    fmt::format("pack {}: its bytes do not match its name", pack_.pack.short_hex()),
                    parity::heal_first(repository_.repository().backend()) +
                        fmt::format(kRepairPack, pack_.pack.short_hex()));
    }
    check_header();
  }
  std::uint64_t bytes_read() const { return done_; }

 private:
  // Moves `blob` past those that end within the next piece.
  std::uint64_t piece_end(std::size_t& blob) {
    const std::uint64_t limit = std::min(size_, done_ + kPiece);
    std::uint64_t end = done_;
    for (; blob < pack_.blobs.size(); ++blob) {
      const std::uint64_t blob_end = end_of(pack_.blobs[blob]);
      if (blob_end > size_ || pack_.blobs[blob].length > kLongestBlob) return std::max(end, limit);
      if (blob_end > limit && end > done_) return end;
      end = std::max(end, blob_end);
    }
    return std::max(end, limit);
  }

  void check_blobs(std::span<const repo::PackedBlob> blobs, ByteView piece) {
    std::vector<repo::Repository::Container> containers;
    std::vector<const repo::PackedBlob*> inside;
    for (const repo::PackedBlob& blob : blobs) {
      if (blob.offset < done_ || end_of(blob) > done_ + piece.size()) {
        outside(blob);
        continue;
      }
      inside.push_back(&blob);
      containers.push_back({blob.type, blob.id, {pack_.pack, blob.offset, blob.length, blob.uncompressed_length},
                            piece.subspan(blob.offset - done_, blob.length)});
    }
    repository_.repository().decode_blobs(containers, cipher_,
                                          [&](std::size_t i, const Bytes&, const Error* damage) {
                                            if (damage != nullptr) damaged(*inside[i], *damage);
                                          });
  }

  void damaged(const repo::PackedBlob& blob, const Error& failure) {
    damaged_.add(pack_.pack, blob);
    const bool elsewhere = repository_.index().find_all(blob.type, blob.id).size() > 1;
    findings_.add(Severity::error, "bad_blob",
                  fmt::format("pack {}, byte {}: {} blob {} is damaged: {}", pack_.pack.short_hex(), blob.offset,
                              blob.type == repo::BlobType::tree ? "tree" : "data", blob.id.short_hex(),
                              failure.message()),
                  elsewhere ? "another pack holds this blob too; restores use that" : kNewBackup);
  }

  void outside(const repo::PackedBlob& blob) {
    damaged_.add(pack_.pack, blob);
    findings_.add(Severity::error, "bad_blob",
                  fmt::format("pack {}: blob {} at byte {} lies where the pack cannot be read",
                              pack_.pack.short_hex(), blob.id.short_hex(), blob.offset),
                  kNewBackup);
  }

  void check_header() {
    try {
      auto own = repository_.repository().read_pack_header(pack_.pack, size_).blobs;
      auto listed = pack_.blobs;
      const auto by_key = [](const repo::PackedBlob& a, const repo::PackedBlob& b) {
        return key(a) < key(b);
      };
      std::ranges::sort(own, by_key);
      std::ranges::sort(listed, by_key);
      const auto same = [](const repo::PackedBlob& a, const repo::PackedBlob& b) { return key(a) == key(b); };
      listed.erase(std::ranges::unique(listed, same).begin(), listed.end());
      if (!std::ranges::equal(own, listed, same))
        findings_.add(Severity::error, "index_mismatch",
                      fmt::format("pack {}: its header tells {} blobs, the index {}, and they differ",
                                  pack_.pack.short_hex(), own.size(), listed.size()),
                      "respaldo repair index");
    } catch (const Error& failure) {
      findings_.add(
          Severity::error, "bad_pack_header",
          fmt::format("pack {}: its header cannot be read: {}", pack_.pack.short_hex(), failure.what()),
          "the index still knows its blobs");
    }
  }

  const repo::IndexedRepository& repository_;
  const repo::PackContents& pack_;
  const std::uint64_t size_;
  crypto::Cipher& cipher_;
  DamagedPlaces& damaged_;
  Findings& findings_;
  crypto::Sha256 hash_;
  std::uint64_t done_ = 0;
};

}  // namespace

UnreferencedPacks check_pack_list(repo::Repository& repository, const repo::Index& index, DamagedPlaces& damaged,
                                  Findings& findings) {
  auto stored = stored_packs(repository);
  const std::string heal = parity::heal_first(repository.backend());
  index.for_each_pack([&](const repo::PackContents& pack) {
    const auto found = stored.find(pack.pack);
    if (found == stored.end()) {
      damaged.add(pack);
      findings.damaged({store::FileType::pack, pack.pack.hex()});
      findings.add(Severity::error, "missing_pack",
                   fmt::format("pack {} with {} blobs is missing", pack.pack.short_hex(), pack.blobs.size()),
                   heal +
                       "bring it back from a copy of the repository; else `respaldo repair snapshots`, then "
                       "`repair index`");
      return;
    }
    for (const repo::PackedBlob& blob : pack.blobs)
      if (end_of(blob) > found->second) damaged.add(pack.pack, blob);
    if (const std::uint64_t expected = repo::Index::expected_pack_size(pack); found->second != expected) {
      findings.damaged({store::FileType::pack, pack.pack.hex()});
      findings.add(
          Severity::error, "bad_pack_size",
          fmt::format("pack {} has {} bytes instead of {}", pack.pack.short_hex(), found->second, expected),
          kReadData);
    }
    const auto is_tree = [](const repo::PackedBlob& blob) { return blob.type == repo::BlobType::tree; };
    if (std::ranges::any_of(pack.blobs, is_tree) && !std::ranges::all_of(pack.blobs, is_tree))
      findings.add(Severity::info, "mixed_pack",
                   fmt::format("pack {} holds trees and data (made by an old restic)", pack.pack.short_hex()),
                   "`respaldo prune` sorts them");
    stored.erase(found);
  });
  UnreferencedPacks unreferenced;
  for (const auto& [id, size] : stored) {
    ++unreferenced.count;
    unreferenced.bytes += size;
    findings.add(Severity::info, "unreferenced_pack",
                 fmt::format("pack {} ({}) is in no index: left by an interrupted run", id.short_hex(),
                             format_size(size)),
                 "it does no harm; where nothing is missing, `respaldo prune` removes it");
  }
  auto repeated = repo::repeated_packs(index);
  std::ranges::sort(repeated);
  repeated.erase(std::ranges::unique(repeated).begin(), repeated.end());
  for (const repo::PackId& id : repeated)
    findings.add(Severity::info, "repeated_pack",
                 fmt::format("pack {} is told by several index files", id.short_hex()),
                 "it does no harm; `respaldo prune` tells it once");
  return unreferenced;
}

std::unordered_map<repo::PackId, std::uint64_t> select(std::unordered_map<repo::PackId, std::uint64_t> stored,
                                                       const ReadSubset& subset) {
  if (subset.kind == ReadSubset::Kind::all) return stored;
  if (subset.kind == ReadSubset::Kind::part) {
    std::erase_if(stored,
                  [&](const auto& pack) { return pack.first.bytes[0] % subset.parts != subset.part - 1; });
    return stored;
  }
  std::uint64_t all = 0, taken = 0;
  for (const auto& [id, size] : stored) all += size;
  const std::uint64_t wanted =
      subset.kind == ReadSubset::Kind::size
          ? subset.bytes
          : static_cast<std::uint64_t>(static_cast<double>(all) * subset.percent / 100);
  std::vector<std::pair<repo::PackId, std::uint64_t>> packs(stored.begin(), stored.end());
  std::ranges::shuffle(packs, std::mt19937_64(std::random_device()()));
  stored.clear();
  for (std::size_t i = 0; i < packs.size() && (taken < wanted || i == 0); ++i) {
    stored.insert(packs[i]);
    taken += packs[i].second;
  }
  return stored;
}

std::uint64_t check_pack_data(const repo::IndexedRepository& repository, const ReadSubset& subset,
                              unsigned threads, DamagedPlaces& damaged, Findings& findings,
                              Progress& progress, const std::stop_token& stop) {
  const auto stored = select(stored_packs(repository.repository()), subset);
  std::uint64_t total = 0;
  repository.index().for_each_pack([&](const repo::PackContents& pack) {
    if (const auto found = stored.find(pack.pack); found != stored.end()) total += found->second;
  });
  const ProgressPhase phase(progress, "check data", total);
  std::atomic<std::uint64_t> bytes_read = 0;
  os::BoundedQueue<repo::PackContents> queue(threads * 2);
  os::ThreadGroup workers(stop);
  for (unsigned i = 0; i < threads; ++i)
    workers.spawn([&](const std::stop_token& token) {
      crypto::Cipher cipher(repository.repository().master_key());
      while (auto pack = queue.pop(token)) {
        os::throw_if_stopped(token);
        std::ranges::sort(pack->blobs, {}, &repo::PackedBlob::offset);
        PackReading reading(repository, *pack, stored.at(pack->pack), cipher, damaged, findings);
        try {
          reading.run(progress, token);
        } catch (const Error& failure) {
          damaged.add(*pack);
          findings.damaged({store::FileType::pack, pack->pack.hex()});
          findings.add(Severity::error, "unreadable_pack",
                       fmt::format("pack {} cannot be read: {}", pack->pack.short_hex(), failure.what()),
                       kNewBackup);
        }
        bytes_read += reading.bytes_read();
      }
    });
  repository.index().for_each_pack([&](const repo::PackContents& pack) {
    if (stored.contains(pack.pack)) queue.push(pack, workers.token());
  });
  queue.close();
  workers.join();
  return bytes_read;
}

}  // namespace respaldo::verify
