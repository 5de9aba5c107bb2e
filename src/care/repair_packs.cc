#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "base/endian.h"
#include "base/error.h"
#include "care/healing.h"
#include "care/repair.h"
#include "crypto/unproven.h"
#include "os/thread_group.h"
#include "parity/object_reading.h"
#include "repo/pack.h"
#include "repo/pack_writer.h"
#include "store/damage.h"

namespace respaldo::care {

namespace {

using repo::PackContents;
using repo::PackedBlob;
using repo::PackId;

constexpr const char* kNothingRemoved = "nothing was removed";

// Runs body; false when what it reads is damaged. A store that cannot be reached says nothing of its packs.
bool reads(const std::function<void()>& body) {
  try {
    body();
    return true;
  } catch (Error& error) {
    if (store::is_damage(error)) return false;
    error.add_context(kNothingRemoved);
    throw;
  }
}

// What the header tells behind its broken seal, when it adds up: each blob has yet to be proven by its own.
std::vector<PackedBlob> blobs_of_broken_header(repo::Repository& repository, const PackId& id, std::uint64_t size) {
  const store::Handle handle{store::FileType::pack, id.hex()};
  const auto wrong = [](const char* what) { return Error(ErrorKind::corrupt, what); };
  if (size < 4 + crypto::kOverhead) throw wrong("the pack is too short to be one");
  const std::uint64_t length = load_le32(repository.backend().load(handle, size - 4, 4).data());
  if (length < crypto::kOverhead || length > std::min(size - 4, repo::kLongestPackHeader)) throw wrong("its header has no length");
  PackContents pack{id, repo::parse_pack_header(crypto::open_unproven(
                            repository.master_key(), repository.backend().load(handle, size - 4 - length, length)))};
  if (repo::Index::expected_pack_size(pack) != size) throw wrong("its header does not describe the file");
  return std::move(pack.blobs);
}

// What the pack holds by the index and by its own header, where that can be read.
PackContents contents_of(const repo::IndexedRepository& repository, const PackId& id, std::uint64_t size) {
  PackContents pack{id, {}};
  repository.index().for_each_pack([&](const PackContents& listed) {
    if (listed.pack == id) pack = listed;
  });
  const auto add_all = [&](const std::vector<PackedBlob>& blobs) {
    for (const PackedBlob& blob : blobs)
      if (std::ranges::find(pack.blobs, blob.offset, &PackedBlob::offset) == pack.blobs.end())
        pack.blobs.push_back(blob);
  };
  repo::Repository& opened = repository.repository();
  if (reads([&] { add_all(opened.read_pack_header(id, size).blobs); }) || !pack.blobs.empty()) return pack;
  // Nobody vouches for the header as a whole, but each blob for itself.
  if (reads([&] { add_all(blobs_of_broken_header(opened, id, size)); })) return pack;
  throw Error(ErrorKind::corrupt,
              fmt::format("neither an index nor its own header tells what pack {} holds; {}", id.hex(), kNothingRemoved),
              "`respaldo check` tells whether backups miss anything: then it may be in this pack, and a copy of the "
              "repository may have it whole, or an index that tells it. When they miss nothing, `respaldo prune` removes it");
}

class Salvage {
  using Key = std::pair<repo::BlobType, repo::BlobId>;

 public:
  Salvage(const repo::IndexedRepository& repository, const std::vector<PackId>& packs)
      : repository_(repository),
        packs_(packs),
        writer_(repository.repository()),
        cipher_(repository.repository().master_key()) {}

  void run(const PackContents& pack, const std::stop_token& stop) {
    for (const PackedBlob& blob : pack.blobs) {
      os::throw_if_stopped(stop);
      const Key key(blob.type, blob.id);
      if (saved_.contains(key)) continue;
      const repo::BlobLocation location{pack.pack, blob.offset, blob.length, blob.uncompressed_length};
      Bytes container;
      const auto take = [&] {
        container = repository_.repository().backend().load({store::FileType::pack, pack.pack.hex()},
                                                            blob.offset, blob.length);
        repository_.repository().decode_blob(blob.type, blob.id, location, container, cipher_);
      };
      if (!reads(take)) {
        doubtful_.emplace_back(pack.pack, blob);
        continue;
      }
      writer_.add(blob.type, blob.id, container, blob.uncompressed_length);
      saved_.insert(key);
    }
  }

  // Returns what is lost, under the packs that held it.
  std::vector<PackContents> finish(RepairPacksReport& report) {
    writer_.finish();
    report.salvaged = saved_.size();
    std::vector<PackContents> lost;
    for (const auto& [pack, blob] : doubtful_) {
      if (saved_.contains({blob.type, blob.id}) || readable_elsewhere(blob)) continue;
      report.lost.push_back({blob.type, blob.id, pack});
      if (lost.empty() || lost.back().pack != pack) lost.push_back({pack, {}});
      lost.back().blobs.push_back(blob);
    }
    return lost;
  }

 private:
  bool readable_elsewhere(const PackedBlob& blob) {
    for (const repo::BlobLocation& place : repository_.index().find_all(blob.type, blob.id)) {
      if (std::ranges::find(packs_, place.pack) != packs_.end()) continue;
      if (reads([&] { repository_.repository().read_blob(blob.type, blob.id, place); })) return true;
    }
    return false;
  }

  const repo::IndexedRepository& repository_;
  const std::vector<PackId>& packs_;
  repo::PackWriter writer_;
  crypto::Cipher cipher_;
  std::set<Key> saved_;
  std::vector<std::pair<PackId, PackedBlob>> doubtful_;
};

}  // namespace

RepairPacksReport repair_packs(repo::Repository& repository, const std::vector<PackId>& packs,
                               const std::function<void(const PackId&, ByteView)>& keep, repo::RepoLock* lock,
                               Progress& progress, const std::stop_token& stop) {
  const repo::IndexedRepository indexed(repository, repository.load_index(progress, nullptr, stop));
  std::set<store::Handle> objects;
  for (const PackId& id : packs) objects.insert({store::FileType::pack, id.hex()});
  require_beyond_healing(repository, objects, progress, stop);
  RepairPacksReport report;
  IndexChange change{.drop = packs};
  std::ranges::sort(change.drop);
  std::vector<std::string> names;
  {
    const ProgressPhase phase(progress, "salvaging", 0);
    Salvage salvage(indexed, packs);
    for (const PackId& id : packs) {
      const store::Handle handle{store::FileType::pack, id.hex()};
      const auto stored = repository.backend().stat(handle);
      if (!stored)
        throw Error(ErrorKind::not_found, fmt::format("there is no pack {}", id.hex()),
                    "`respaldo repair index` drops packs that are missing from the index");
      salvage.run(contents_of(indexed, id, stored->size), stop);
      const auto reading = parity::read_tolerantly(repository.backend(), handle);
      if (!reading || reading->bytes.size() < stored->size)
        throw Error(ErrorKind::refused, fmt::format("pack {} is too long to be copied", id.hex()));
      if (!reading->only_damage)
        throw Error(ErrorKind::io, fmt::format("pack {} cannot be copied: {}; {}", id.hex(), reading->first_problem,
                                               kNothingRemoved));
      keep(id, reading->bytes);
      if (!reading->unreadable.empty()) report.unreadable.emplace_back(id, reading->unreadable);
      names.push_back(handle.name);
    }
    // Their lengths are what repair_snapshots needs.
    change.replace = salvage.finish(report);
  }
  report.index = rewrite_index(repository, indexed.index(), change, lock, progress, stop);
  remove_files(repository, store::FileType::pack, names, lock, progress);
  repository.backend().sync();
  return report;
}

}  // namespace respaldo::care
