#include "care/copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <tuple>
#include <unordered_set>

#include "base/error.h"
#include "crypto/crypto.h"
#include "os/thread_group.h"
#include "repo/blob_writer.h"
#include "repo/compression.h"
#include "repo/id_set.h"
#include "repo/pack_writer.h"

namespace respaldo::care {

namespace {

using repo::BlobId;
using repo::BlobType;

bool same_backup(const repo::Snapshot& a, const repo::Snapshot& b) {
  const auto key = [](const repo::Snapshot& s) {
    return std::tie(s.time.seconds, s.time.nanoseconds, s.tree, s.paths, s.hostname, s.username, s.uid, s.gid,
                    s.excludes, s.tags);
  };
  return key(a) == key(b);
}

// The trees and blobs of one backup after the other. Trees come first off the stack, and each blob is one
// task, so that the threads have work while there is any.
class Copier {
 public:
  Copier(const repo::IndexedRepository& from, const repo::IndexedRepository& to, repo::PackWriter& writer,
         Progress& progress)
      : from_(from), to_(to), writer_(writer), progress_(progress) {}

  void copy(const repo::Snapshot& backup, unsigned threads, const std::stop_token& stop) {
    enter(backup.tree);
    os::ThreadGroup workers(stop);
    for (unsigned i = 0; i < threads; ++i)
      workers.spawn([this](const std::stop_token& token) {
        Lane lane(*this);
        while (auto task = next(token)) {
          lane.run(*task);
          done();
        }
      });
    workers.join();
    writer_.finish();
  }

 private:
  struct Task {
    BlobId tree;
    std::vector<BlobId> data;  // or, when not empty, these blobs
  };

  // One thread's contexts.
  class Lane {
   public:
    explicit Lane(Copier& copier)
        : copier_(copier),
          open_(copier.from_.repository().master_key()),
          seal_(copier.to_.repository().master_key()),
          compressor_(repo::kAutoLevel) {}

    void run(const Task& task) {
      if (task.data.empty())
        tree(task.tree);
      else
        for (const BlobId& id : task.data) copy(BlobType::data, id);
    }

   private:
    void tree(const BlobId& id) {
      const repo::Tree tree = copier_.from_.load_tree(id);
      // Below a tree that the other side has, all may still be missing: a run that was stopped leaves such.
      copy(BlobType::tree, id);
      constexpr std::size_t kBatch = 64;
      std::vector<BlobId> wanted;
      for (const repo::Node& node : tree.nodes) {
        if (node.subtree) copier_.enter(*node.subtree);
        for (const BlobId& blob : node.content) {
          if (copier_.to_.index().contains(BlobType::data, blob)) continue;
          wanted.push_back(blob);
          if (wanted.size() == kBatch) copier_.push({id, std::exchange(wanted, {})});
        }
      }
      if (!wanted.empty()) copier_.push({id, std::move(wanted)});
    }

    void copy(BlobType type, const BlobId& id) {
      repo::IdSet& fresh = type == BlobType::tree ? copier_.fresh_trees_ : copier_.fresh_data_;
      if (copier_.to_.index().contains(type, id) || !fresh.insert(id)) return;
      std::exception_ptr last;
      for (const repo::BlobLocation& place : copier_.from_.index().find_all(type, id)) {
        try {
          copy_from(type, id, place);
          return;
        } catch (const Error&) {
          last = std::current_exception();
        }
      }
      if (last) std::rethrow_exception(last);
      throw Error(ErrorKind::corrupt, fmt::format("blob {} is in no index of the source", id.short_hex()),
                  "run `respaldo check` on the source");
    }

    void copy_from(BlobType type, const BlobId& id, const repo::BlobLocation& place) {
      repo::Repository& source = copier_.from_.repository();
      const Bytes container =
          source.backend().load({store::FileType::pack, place.pack.hex()}, place.offset, place.length);
      const Bytes plain = source.decode_blob(type, id, place, container, open_);
      if (place.uncompressed_length != 0 && copier_.to_.repository().config().version >= 2) {
        // decode_blob found it whole: what is inside the seal goes over as it is.
        const auto packed = open_.open(container);
        if (!packed) throw Error(ErrorKind::internal, "a blob opens once, and not again");
        copier_.writer_.add(type, id, seal_.seal(*packed), place.uncompressed_length);
      } else {
        save(type, id, plain);
      }
      copier_.progress_.advance(plain.size());
    }

    void save(BlobType type, const BlobId& id, ByteView plain) {
      const bool may = copier_.to_.repository().config().version >= 2;
      if (may && (type == BlobType::tree || compressor_.worthwhile(plain))) {
        Bytes packed(repo::Compressor::bound(plain.size()));
        const std::size_t length = compressor_.compress(plain, packed);
        if (length > 0 && (type == BlobType::tree || length < plain.size())) {
          copier_.writer_.add(type, id, seal_.seal(packed.view(0, length)),
                              static_cast<std::uint32_t>(plain.size()));
          return;
        }
      }
      copier_.writer_.add(type, id, seal_.seal(plain), 0);
    }

    Copier& copier_;
    crypto::Cipher open_, seal_;
    repo::Compressor compressor_;
  };

  void enter(const BlobId& tree) {
    std::lock_guard lock(mutex_);
    if (!seen_.insert(tree).second) return;
    tasks_.push_back({tree, {}});
    changed_.notify_one();
  }
  void push(Task task) {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    changed_.notify_one();
  }
  std::optional<Task> next(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [&] { return !tasks_.empty() || working_ == 0; });
    os::throw_if_stopped(stop);
    if (tasks_.empty()) return std::nullopt;
    Task task = std::move(tasks_.back());
    tasks_.pop_back();
    ++working_;
    return task;
  }
  void done() {
    std::lock_guard lock(mutex_);
    if (--working_ == 0 && tasks_.empty()) changed_.notify_all();
  }

  const repo::IndexedRepository& from_;
  const repo::IndexedRepository& to_;
  repo::PackWriter& writer_;
  repo::IdSet fresh_data_, fresh_trees_;  // claimed by a thread of this run
  Progress& progress_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<Task> tasks_;
  std::unordered_set<BlobId> seen_;
  std::size_t working_ = 0;
};

}  // namespace

CopyReport copy_backups(const repo::IndexedRepository& from, const repo::IndexedRepository& to,
                        const std::vector<repo::NamedSnapshot>& backups, unsigned threads, Progress& progress,
                        const std::stop_token& stop, const std::function<void()>& still_locked) {
  CopyReport report;
  std::vector<repo::NamedSnapshot> there = to.repository().snapshots();
  repo::PackWriter writer(to.repository());
  Copier copier(from, to, writer, progress);
  const ProgressPhase phase(progress, "copying", 0);
  for (const repo::NamedSnapshot& backup : backups) {
    os::throw_if_stopped(stop);
    const repo::SnapshotId original = backup.snapshot.original.value_or(backup.id);
    const auto known = std::ranges::find_if(there, [&](const repo::NamedSnapshot& candidate) {
      return candidate.snapshot.original.value_or(candidate.id) == original &&
             same_backup(candidate.snapshot, backup.snapshot);
    });
    if (known != there.end()) {
      report.backups.push_back({backup.id, known->id, true});
      continue;
    }
    in_context([&] { return "copying backup " + backup.id.short_hex(); },
               [&] { copier.copy(backup.snapshot, std::max(threads, 1U), stop); });
    repo::Snapshot fresh = backup.snapshot;
    fresh.parent.reset();  // it is known by its ID in the source
    fresh.original = original;
    if (still_locked) still_locked();
    report.backups.push_back({backup.id, repo::save_snapshot(to.repository(), fresh), false});
  }
  report.new_blobs = writer.blobs();
  report.new_bytes = writer.plain_bytes();
  report.stored_bytes = writer.stored_bytes();
  return report;
}

}  // namespace respaldo::care
