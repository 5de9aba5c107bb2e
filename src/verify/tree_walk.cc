#include "verify/tree_walk.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "base/error.h"
#include "base/printable.h"
#include "os/thread_group.h"
#include "parity/parity_backend.h"

namespace respaldo::verify {

namespace {

struct TreeTask {
  repo::BlobId id;
  std::size_t backup = 0;
  std::string path;  // "" for the root
};

// Last in, first out, so that what waits stays small. Remembers what was ever put in. Thread-safe.
class TreeStack {
 public:
  void push(TreeTask task) {
    std::lock_guard lock(mutex_);
    if (!seen_.insert(task.id).second) return;
    tasks_.push_back(std::move(task));
    changed_.notify_one();
  }
  // Absent when nothing is left and nobody is working, or when asked to stop. done() ends each task.
  std::optional<TreeTask> pop(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [&] { return !tasks_.empty() || working_ == 0; });
    if (stop.stop_requested() || tasks_.empty()) return std::nullopt;
    TreeTask task = std::move(tasks_.back());
    tasks_.pop_back();
    ++working_;
    return task;
  }
  void done() {
    std::lock_guard lock(mutex_);
    if (--working_ == 0 && tasks_.empty()) changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<TreeTask> tasks_;
  std::unordered_set<repo::BlobId> seen_;
  std::size_t working_ = 0;
};

// Paths are for messages: those of a hostile backup are not kept in full length.
std::string below(const std::string& path, const std::string& name) {
  constexpr std::size_t kLongest = 4096;
  if (path.size() + name.size() <= kLongest) return path + "/" + name;
  return path.ends_with("/...") ? path : path.substr(0, kLongest) + "/...";
}

class Walk {
 public:
  Walk(const repo::IndexedRepository& repository, const std::vector<repo::NamedSnapshot>& backups,
       Findings& findings)
      : repository_(repository),
        backups_(backups),
        findings_(findings),
        heal_(parity::heal_first(repository.repository().backend())) {}

  void run(unsigned threads, const std::stop_token& stop) {
    for (std::size_t i = backups_.size(); i-- > 0;) stack_.push({backups_[i].snapshot.tree, i, ""});
    os::ThreadGroup workers(stop);
    for (unsigned i = 0; i < threads; ++i)
      workers.spawn([this](const std::stop_token& token) {
        while (auto task = stack_.pop(token)) {
          check(*task, token);
          stack_.done();
        }
      });
    workers.join();
  }

 private:
  std::string place(const TreeTask& task) const {
    return fmt::format("backup {}, folder {}", backups_[task.backup].id.short_hex(),
                       printable(task.path.empty() ? "/" : task.path));
  }
  void error(std::string kind, std::string message, const std::string& first = "") {
    findings_.add(Severity::error, std::move(kind), std::move(message),
                  first + "backups made before or after may be whole; a new backup stores the contents again");
  }
  // The packs may still have it.
  void in_no_index(std::string kind, std::string message) {
    error(std::move(kind), std::move(message), heal_ + "`respaldo repair index` brings back what only the index lost; else ");
  }

  void check(const TreeTask& task, const std::stop_token& stop) {
    repo::Tree tree;
    try {
      if (!repository_.index().contains(repo::BlobType::tree, task.id)) {
        in_no_index("missing_tree",
                    fmt::format("{}: its tree {} is in no index", place(task), task.id.short_hex()));
        return;
      }
      tree = repository_.load_tree(task.id);
    } catch (const Error& failure) {
      error("bad_tree", fmt::format("{}: its tree {} cannot be read: {}", place(task), task.id.short_hex(),
                                    failure.what()),
            heal_);
      return;
    }
    for (const repo::Node& node : tree.nodes) {
      os::throw_if_stopped(stop);
      check_node(task, node);
    }
  }

  void check_node(const TreeTask& task, const repo::Node& node) {
    const auto named = [&] { return fmt::format("{}, \"{}\"", place(task), printable(node.name)); };
    if (node.name.empty()) error("bad_node", fmt::format("{}: an entry has no name", place(task)));
    switch (node.type) {
      case repo::NodeType::unknown:
        error("bad_node", fmt::format("{}: is of an unknown type", named()));
        break;
      case repo::NodeType::dir:
        if (!node.subtree || node.subtree->is_null()) {
          error("bad_node", fmt::format("{}: is a folder without a tree", named()));
        } else {
          stack_.push({*node.subtree, task.backup, below(task.path, node.name)});
        }
        break;
      case repo::NodeType::file:
        check_content(node, named);
        break;
      default:
        break;
    }
  }

  template <class Named>
  void check_content(const repo::Node& node, const Named& named) {
    std::uint64_t size = 0;
    bool all = true;
    for (const repo::BlobId& id : node.content) {
      if (const auto place = repository_.index().find(repo::BlobType::data, id)) {
        size += place->plain_length();
        continue;
      }
      all = false;
      {
        std::lock_guard lock(missing_mutex_);
        if (!missing_.insert(id).second) continue;
      }
      in_no_index("missing_blob", fmt::format("{}: its blob {} is in no index", named(), id.short_hex()));
    }
    if (all && size != node.size)
      error("bad_size", fmt::format("{}: its blobs have {} bytes, its size is {}", named(), size, node.size));
  }

  const repo::IndexedRepository& repository_;
  const std::vector<repo::NamedSnapshot>& backups_;
  Findings& findings_;
  const std::string heal_;
  TreeStack stack_;
  std::mutex missing_mutex_;
  std::unordered_set<repo::BlobId> missing_;
};

}  // namespace

void check_trees(const repo::IndexedRepository& repository, const std::vector<repo::NamedSnapshot>& backups,
                 unsigned threads, Findings& findings, Progress& progress, const std::stop_token& stop) {
  const ProgressPhase phase(progress, "check trees", 0);
  Walk(repository, backups, findings).run(threads, stop);
}

}  // namespace respaldo::verify
