#include "care/used_blobs.h"

#include <fmt/format.h>
#include <malloc.h>

#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "os/thread_group.h"
#include "parity/parity_backend.h"
#include "repo/index_numbers.h"
#include "repo/references.h"

namespace respaldo::care {

namespace {

constexpr std::uint64_t kLargeTree = 1U << 20;  // bytes of JSON

struct Task {
  repo::BlobId tree;
  std::size_t backup = 0;
};

class Walk {
 public:
  Walk(const repo::IndexedRepository& repository, const std::vector<repo::NamedSnapshot>& backups,
       BlobBits& used, Progress& progress)
      : repository_(repository), backups_(backups), used_(used), progress_(progress) {}

  void run(unsigned threads, const std::stop_token& stop) {
    for (std::size_t i = 0; i < backups_.size(); ++i) enter({backups_[i].snapshot.tree, i});
    os::ThreadGroup workers(stop);
    for (unsigned i = 0; i < threads; ++i)
      workers.spawn([this](const std::stop_token& token) {
        while (auto task = next(token)) {
          read(*task);
          done();
        }
      });
    workers.join();
  }

 private:
  [[noreturn]] void lost(std::size_t backup, std::string_view what, const repo::BlobId& id) const {
    throw Error(ErrorKind::corrupt,
                fmt::format("backup {} needs {} {}, which is in no index; nothing was removed",
                            backups_[backup].id.short_hex(), what, id.short_hex()),
                parity::heal_first(repository_.repository().backend()) +
                    "`respaldo check` tells all that is lost; `respaldo repair index` finds what only the "
                    "index lost, "
                    "`respaldo repair snapshots --forget` gives up the rest");
  }

  void enter(const Task& task) {
    const auto found = repo::blob_number(repository_.index(), repo::BlobType::tree, task.tree);
    if (!found) lost(task.backup, "tree", task.tree);
    if (!used_.insert(found->number)) return;
    std::lock_guard lock(mutex_);
    tasks_.push_back(task);
    changed_.notify_one();
  }

  // Absent when nothing is left and nobody is working.
  std::optional<Task> next(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [&] { return !tasks_.empty() || working_ == 0; });
    os::throw_if_stopped(stop);
    if (tasks_.empty()) return std::nullopt;
    const Task task = tasks_.back();
    tasks_.pop_back();
    ++working_;
    return task;
  }
  void done() {
    std::lock_guard lock(mutex_);
    if (--working_ == 0 && tasks_.empty()) changed_.notify_all();
  }

  void read(const Task& task) {
    // The image of a terabyte has a tree of 67 MB: those are read one at a time, whatever the number of
    // threads.
    std::unique_lock<std::mutex> alone;
    const auto place = repository_.index().find(repo::BlobType::tree, task.tree);
    if (place && place->plain_length() > kLargeTree) alone = std::unique_lock(large_);
    try {
      read_tree(task);
    } catch (Error& error) {
      // A pack that is missing, or damaged.
      const std::string first = parity::heal_first(repository_.repository().backend());
      if ((error.kind() == ErrorKind::not_found || error.kind() == ErrorKind::corrupt) &&
          (error.hint().empty() || !error.hint().starts_with(first)))
        error.set_hint(first + (error.hint().empty() ? "`respaldo check` tells all that is lost" : error.hint()));
      throw;
    }
    progress_.advance(0);
  }
  void read_tree(const Task& task) {
    in_context(
        [&] { return fmt::format("backup {}; nothing was removed", backups_[task.backup].id.short_hex()); },
        [&] {
          repo::for_each_reference(repository_, task.tree, [&](repo::BlobType type, const repo::BlobId& id) {
            if (type == repo::BlobType::tree) return enter({id, task.backup});
            const auto found = repo::blob_number(repository_.index(), type, id);
            if (!found) lost(task.backup, "blob", id);
            used_.insert(found->number);
          });
        });
  }

  const repo::IndexedRepository& repository_;
  const std::vector<repo::NamedSnapshot>& backups_;
  BlobBits& used_;
  Progress& progress_;
  std::mutex mutex_, large_;
  std::condition_variable_any changed_;
  std::vector<Task> tasks_;
  std::size_t working_ = 0;
};

}  // namespace

BlobBits find_used_blobs(const repo::IndexedRepository& repository,
                         const std::vector<repo::NamedSnapshot>& backups, unsigned threads,
                         Progress& progress, const std::stop_token& stop) {
  const ProgressPhase phase(progress, "finding what backups need", 0);
  BlobBits used(repository.index().blob_count());
  Walk(repository, backups, used, progress).run(threads, stop);
  // The allocator would hold on to the memory of large trees.
  ::malloc_trim(0);
  return used;
}

}  // namespace respaldo::care
