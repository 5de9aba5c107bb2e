// The trees of a walk, read by threads before the walk comes to them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "repo/repository.h"

namespace respaldo::view {

// Who walks asks for one folder after another, parents before their children. The threads read those that
// come next, in that order, until a few MiB of trees wait to be taken. Its functions are for the one thread
// that walks. The repository must outlive it. The end waits for the trees that are being read, however long
// their store takes.
class TreesAhead {
 public:
  // A folder's place in the walk.
  class Folder;
  struct Contents {
    std::vector<repo::Node> nodes;
    std::vector<std::shared_ptr<Folder>> folders;  // those of `nodes` that are folders with a tree, in order
  };
  static bool is_folder(const repo::Node& node) { return node.type == repo::NodeType::dir && node.subtree; }

  TreesAhead(const repo::IndexedRepository& repository, unsigned threads);
  ~TreesAhead();
  TreesAhead(const TreesAhead&) = delete;
  TreesAhead& operator=(const TreesAhead&) = delete;

  // Of where the walk begins. Errors: those of IndexedRepository::load_tree.
  Contents begin(const repo::BlobId& tree);
  // Likewise. Each folder is either taken or passed over, once.
  Contents take(const std::shared_ptr<Folder>& folder);
  // It and what lies below are not wanted. Waits for nobody.
  void pass_over(std::shared_ptr<Folder> folder);

 private:
  using Folders = std::list<std::shared_ptr<Folder>>;
  using Lock = std::unique_lock<std::mutex>;
  struct Found;
  Found read(const repo::BlobId& tree) const;
  void read(const std::shared_ptr<Folder>& folder, Lock& lock);
  void announce(Folders& folders, Folders::iterator before);
  void let_go(std::uint64_t bytes);
  std::shared_ptr<Folder> next() const;
  void wake();
  void work();

  const repo::IndexedRepository& repository_;
  const unsigned most_threads_;
  std::mutex mutex_;
  std::condition_variable wanted_;  // something may be read ahead, or nothing ever again
  std::condition_variable read_;
  Folders waiting_;         // in the order of the walk: announced and not read yet, or being read
  std::uint64_t held_ = 0;  // bytes of what was read and not taken, and of what is being read
  unsigned idle_ = 0;       // threads that wait
  bool full_ = false, ended_ = false;
  std::vector<std::jthread> threads_;  // no ThreadGroup: a failure is told where the walk comes to it
};

}  // namespace respaldo::view
