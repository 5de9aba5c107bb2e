#include "care/kept_copies.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <mutex>

#include "base/error.h"
#include "care/pack_pieces.h"
#include "crypto/crypto.h"
#include "os/thread_group.h"
#include "parity/parity_backend.h"
#include "repo/index_numbers.h"
#include "store/damage.h"

namespace respaldo::care {

namespace {

using repo::PackContents;
using repo::PackedBlob;

struct Task {
  PackContents wanted;  // only what is to be read, by offset
  bool only_trees = false;
};

class Proof {
 public:
  Proof(const repo::IndexedRepository& repository, const BlobBits& used, const PrunePlan& plan,
        const BadCopies& bad)
      : repository_(repository), plan_(plan), bad_(bad), unproven_(repository.index().blob_count()) {
    for_each_pack([&](const PackContents& pack, PackFate fate, bool present) {
      if (!present) return;
      for (const PackedBlob& blob : pack.blobs) {
        const bool goes = fate != PackFate::keep || is_bad(pack, blob);
        if (const auto [number, copies] = numbered(blob);
            goes && copies > 1 && used.contains(number) && !plan_.to_copy.contains(number))
          unproven_.insert(number);
      }
    });
  }

  bool done() const { return unproven_.count() == 0; }

  void run(unsigned threads, Progress& progress, const std::stop_token& stop) {
    std::uint64_t total = 0;
    for_each_wanted([&](Task task) {
      for (const PackedBlob& blob : task.wanted.blobs) total += blob.length;
    });
    const ProgressPhase phase(progress, "reading what is stored twice", total);
    os::BoundedQueue<Task> queue(1);
    os::ThreadGroup workers(stop);
    for (unsigned i = 0; i < threads; ++i)
      workers.spawn([&](const std::stop_token& token) {
        crypto::Cipher cipher(repository_.repository().master_key());
        while (const auto task = queue.pop(token)) read(*task, cipher, progress, token);
      });
    for_each_wanted([&](Task task) { queue.push(std::move(task), workers.token()); });
    queue.close();
    workers.join();
  }

  // What was found damaged; Error(corrupt) when nothing else is left of a blob.
  BadCopies damaged() {
    BadCopies all = bad_;
    for (const auto& [pack, blob] : found_) all.emplace(pack, blob.offset);
    for (const auto& [pack, blob] : found_)
      if (unproven_.contains(numbered(blob).number)) require_another(blob, all);
    return all;
  }

 private:
  using Visit = std::function<void(const PackContents&, PackFate, bool present)>;
  void for_each_pack(const Visit& visit) const {
    std::size_t number = 0;
    repository_.index().for_each_pack([&](const PackContents& pack) {
      visit(pack, plan_.fates[number], plan_.present[number]);
      ++number;
    });
  }
  // Less of it the more is proven.
  void for_each_wanted(const std::function<void(Task)>& visit) const {
    for_each_pack([&](const PackContents& pack, PackFate fate, bool) {
      if (fate != PackFate::keep) return;
      Task task{{pack.pack, {}}, true};
      for (const PackedBlob& blob : pack.blobs) {
        task.only_trees &= blob.type == repo::BlobType::tree;
        if (unproven_.contains(numbered(blob).number) && !is_bad(pack, blob))
          task.wanted.blobs.push_back(blob);
      }
      if (!task.wanted.blobs.empty()) visit(std::move(task));
    });
  }
  bool is_bad(const PackContents& pack, const PackedBlob& blob) const {
    return !bad_.empty() && bad_.contains({pack.pack, blob.offset});
  }
  repo::BlobNumber numbered(const PackedBlob& blob) const {
    return *repo::blob_number(repository_.index(), blob.type, blob.id);
  }

  void read(const Task& task, crypto::Cipher& cipher, Progress& progress, const std::stop_token& stop) {
    for (std::size_t first = 0; first < task.wanted.blobs.size();) {
      os::throw_if_stopped(stop);
      // A cache may hold packs of trees, whatever became of the store's.
      const PackPiece piece =
          task.only_trees ? PackPiece{0, task.wanted.blobs.size(), 0, 0} : next_piece(task.wanted, first);
      Bytes bytes;
      if (load([&] {
            bytes = task.only_trees ? load_stored(task.wanted.pack) : load_piece(task.wanted.pack, piece);
          }))
        prove(task.wanted, piece, bytes, cipher);
      else
        prove_each(task, piece);
      for (std::size_t i = piece.first; i < piece.last; ++i) progress.advance(task.wanted.blobs[i].length);
      first = piece.last;
    }
  }

  // False when the medium has lost it; a store that cannot be reached says nothing of its packs.
  static bool load(const std::function<void()>& body) {
    try {
      body();
      return true;
    } catch (Error& error) {
      if (store::is_damage(error)) return false;
      error.add_context("nothing was removed; a blob that is stored more than once cannot be read");
      throw;
    }
  }
  Bytes load_piece(const repo::PackId& pack, const PackPiece& piece) const {
    return repository_.repository().backend().load({store::FileType::pack, pack.hex()}, piece.begin,
                                                   piece.end - piece.begin);
  }
  Bytes load_stored(const repo::PackId& pack) const {
    Bytes whole;
    repository_.repository().backend().read_from_medium({store::FileType::pack, pack.hex()},
                                                        [&](ByteView piece) {
                                                          const std::size_t at = whole.size();
                                                          whole.resize(at + piece.size());
                                                          std::ranges::copy(piece, whole.data() + at);
                                                        });
    return whole;
  }

  void prove(const PackContents& pack, const PackPiece& piece, ByteView bytes, crypto::Cipher& cipher) {
    std::vector<repo::Repository::Container> containers;
    std::vector<std::size_t> numbers;
    for (std::size_t i = piece.first; i < piece.last; ++i) {
      const PackedBlob& blob = pack.blobs[i];
      if (end_of(blob) - piece.begin > bytes.size()) {
        is_damaged(pack.pack, blob);
        continue;
      }
      numbers.push_back(i);
      containers.push_back({blob.type,
                            blob.id,
                            {pack.pack, blob.offset, blob.length, blob.uncompressed_length},
                            bytes.subspan(blob.offset - piece.begin, blob.length)});
    }
    repository_.repository().decode_blobs(containers, cipher,
                                          [&](std::size_t number, Bytes, const Error* damage) {
                                            const PackedBlob& blob = pack.blobs[numbers[number]];
                                            if (damage != nullptr)
                                              is_damaged(pack.pack, blob);
                                            else
                                              unproven_.erase(numbered(blob).number);
                                          });
  }
  void prove_each(const Task& task, const PackPiece& piece) {
    for (std::size_t i = piece.first; i < piece.last; ++i) {
      const PackedBlob& blob = task.wanted.blobs[i];
      const repo::BlobLocation location{task.wanted.pack, blob.offset, blob.length, blob.uncompressed_length};
      if (!task.only_trees && load([&] { repository_.repository().read_blob(blob.type, blob.id, location); }))
        unproven_.erase(numbered(blob).number);
      else
        is_damaged(task.wanted.pack, blob);
    }
  }
  void is_damaged(const repo::PackId& pack, const PackedBlob& blob) {
    std::lock_guard lock(mutex_);
    found_.emplace_back(pack, blob);
  }

  void require_another(const PackedBlob& blob, const BadCopies& bad) const {
    std::string packs;
    for (const repo::BlobLocation& place : repository_.index().find_all(blob.type, blob.id)) {
      if (!bad.contains({place.pack, place.offset})) return;
      packs += (packs.empty() ? "" : ", ") + place.pack.short_hex();
    }
    throw Error(
        ErrorKind::corrupt,
        fmt::format(
            "blob {}, which backups need, is damaged in every pack that holds it ({}); nothing was removed",
            blob.id.short_hex(), packs),
        parity::heal_first(repository_.repository().backend()) +
            "`respaldo check --read-data` tells what is lost; then `respaldo repair packs`, and `repair "
            "snapshots` "
            "gives up what no pack holds");
  }

  const repo::IndexedRepository& repository_;
  const PrunePlan& plan_;
  const BadCopies& bad_;
  BlobBits unproven_;  // a copy of these goes, or is damaged, and none is written anew
  std::mutex mutex_;
  std::vector<std::pair<repo::PackId, PackedBlob>> found_;
};

}  // namespace

bool prove_kept_copies(const repo::IndexedRepository& repository, const BlobBits& used, const PrunePlan& plan,
                       unsigned threads, BadCopies& bad, Progress& progress, const std::stop_token& stop) {
  if (plan.stats.blobs.duplicate == 0) return true;
  Proof proof(repository, used, plan, bad);
  if (proof.done()) return true;
  proof.run(threads, progress, stop);
  BadCopies damaged = proof.damaged();
  const bool learned = damaged.size() > bad.size();
  bad = std::move(damaged);
  if (!proof.done() && !learned)
    throw Error(ErrorKind::internal,
                "a blob that is stored more than once would not stay; nothing was removed");
  return proof.done();
}

}  // namespace respaldo::care
