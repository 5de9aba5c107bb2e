#include "view/trees_ahead.h"

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

namespace respaldo::view {

namespace {

constexpr std::uint64_t kMostHeld = 4U << 20;
constexpr std::uint64_t kLongest = 1U << 20;  // that is read ahead: longer ones are read when they are asked for, one at a time
constexpr std::uint64_t kLeast = 4096;        // that any counts, read or failed

}  // namespace

class TreesAhead::Folder {
 public:
  enum class State { announced, being_read, read, gone };

  Folder(const repo::BlobId& its_tree, std::uint64_t its_length) : tree(its_tree), length(its_length) {}

  const repo::BlobId tree;
  const std::uint64_t length;  // of its JSON, kLeast at least
  State state = State::announced;
  std::list<Folder*>::iterator place;  // while announced or being read
  Contents contents;                   // when read
  std::exception_ptr failure;          // instead of them
};

TreesAhead::TreesAhead(const repo::IndexedRepository& repository, unsigned threads)
    : repository_(repository), most_threads_(threads) {}

TreesAhead::~TreesAhead() {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wanted_.notify_all();
}

TreesAhead::Contents TreesAhead::read(const repo::BlobId& tree) const {
  Contents contents{repository_.load_tree(tree).nodes, {}};
  for (const repo::Node& node : contents.nodes) {
    if (!is_folder(node)) continue;
    const auto location = repository_.index().find(repo::BlobType::tree, *node.subtree);
    contents.folders.push_back(
        std::make_shared<Folder>(*node.subtree, std::max<std::uint64_t>(location ? location->plain_length() : 0, kLeast)));
  }
  return contents;
}

void TreesAhead::announce(const Folders& folders, std::list<Folder*>::iterator before) {
  for (const auto& folder : folders) folder->place = waiting_.insert(before, folder.get());
  if (!folders.empty() && idle_ > 0 && !full_) wanted_.notify_all();
}

TreesAhead::Contents TreesAhead::begin(const repo::BlobId& tree) {
  Contents contents = read(tree);
  Lock lock(mutex_);
  announce(contents.folders, waiting_.begin());
  try {
    while (threads_.size() < most_threads_ && !contents.folders.empty()) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // No room for threads: what is there has to do.
  }
  return contents;
}

TreesAhead::Contents TreesAhead::take(Folder& folder) {
  Lock lock(mutex_);
  wait_for(folder, lock);
  if (folder.state == Folder::State::announced) read_ahead(folder, lock);
  folder.state = Folder::State::gone;
  let_go(folder);
  if (folder.failure) std::rethrow_exception(std::exchange(folder.failure, nullptr));
  return std::move(folder.contents);
}

void TreesAhead::pass_over(Folder& folder) {
  Lock lock(mutex_);
  std::vector<Folder*> all{&folder};
  while (!all.empty()) {
    Folder& one = *all.back();
    all.pop_back();
    wait_for(one, lock);
    if (std::exchange(one.state, Folder::State::gone) == Folder::State::read) {
      let_go(one);
      for (const auto& below : one.contents.folders) all.push_back(below.get());
    } else {
      waiting_.erase(one.place);
    }
  }
}

// While another thread reads it, there is something to do.
void TreesAhead::wait_for(const Folder& folder, Lock& lock) {
  while (folder.state == Folder::State::being_read)
    if (Folder* other = next())
      read_ahead(*other, lock);
    else
      read_.wait(lock);
}

void TreesAhead::let_go(const Folder& folder) {
  held_ -= folder.length;
  // Not for each: who sleeps is dear to wake.
  if (held_ > kMostHeld / 2) return;
  full_ = false;
  if (idle_ > 0 && !waiting_.empty()) wanted_.notify_all();
}

// The next that may be read before it is asked for. None behind one that may not: what is read is soon wanted.
TreesAhead::Folder* TreesAhead::next() const {
  if (full_) return nullptr;
  for (Folder* folder : waiting_)
    if (folder->state != Folder::State::being_read) return folder->length <= kLongest ? folder : nullptr;
  return nullptr;
}

// It keeps its place in the walk until those below it have theirs.
void TreesAhead::read_ahead(Folder& folder, Lock& lock) {
  folder.state = Folder::State::being_read;
  held_ += folder.length;
  full_ = full_ || held_ >= kMostHeld;
  lock.unlock();
  Contents contents;
  std::exception_ptr failure;
  try {
    contents = read(folder.tree);
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  folder.contents = std::move(contents);
  folder.failure = std::move(failure);
  folder.state = Folder::State::read;
  announce(folder.contents.folders, waiting_.erase(folder.place));
  read_.notify_all();
}

void TreesAhead::work() {
  Lock lock(mutex_);
  for (;;) {
    Folder* folder = nullptr;
    ++idle_;
    wanted_.wait(lock, [&] { return ended_ || (folder = next()) != nullptr; });
    --idle_;
    if (ended_) return;
    read_ahead(*folder, lock);
  }
}

}  // namespace respaldo::view
