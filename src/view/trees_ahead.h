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

// Who walks asks for one folder after another, parents before their children; the threads read those that come next, in
// that order, and never hold more than a few MiB of trees that nobody has taken yet. Its functions are for the one thread
// that walks. The repository must outlive it.
class TreesAhead {
 public:
  // A folder's place in the walk.
  class Folder;
  struct Contents {
    std::vector<repo::Node> nodes;
    std::vector<std::shared_ptr<Folder>> folders;  // those of `nodes` that are folders with a tree, in order
  };
  static bool is_folder(const repo::Node& node) { return node.type == repo::NodeType::dir && node.subtree; }

  // Without threads each tree is read when it is asked for.
  TreesAhead(const repo::IndexedRepository& repository, unsigned threads);
  ~TreesAhead();
  TreesAhead(const TreesAhead&) = delete;
  TreesAhead& operator=(const TreesAhead&) = delete;

  // Of where the walk begins. Errors: those of IndexedRepository::load_tree.
  Contents begin(const repo::BlobId& tree);
  // Likewise. Each folder is either taken or passed over, once.
  Contents take(Folder& folder);
  // It and what lies below are not wanted.
  void pass_over(Folder& folder);

 private:
  using Folders = std::vector<std::shared_ptr<Folder>>;
  using Lock = std::unique_lock<std::mutex>;
  Contents read(const repo::BlobId& tree) const;
  void announce(const Folders& folders, std::list<Folder*>::iterator before);
  Folder* next() const;
  void read_ahead(Folder& folder, Lock& lock);
  void let_go(const Folder& folder);
  void wait_for(const Folder& folder, Lock& lock);
  void work();

  const repo::IndexedRepository& repository_;
  const unsigned most_threads_;
  std::mutex mutex_;
  std::condition_variable wanted_;  // something may be read ahead, or nothing ever again
  std::condition_variable read_;
  std::list<Folder*> waiting_;  // in the order of the walk: announced and not read yet, or being read
  std::uint64_t held_ = 0;      // bytes of JSON of the trees that were read ahead and not taken
  unsigned idle_ = 0;           // threads that wait
  bool full_ = false, ended_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace respaldo::view
