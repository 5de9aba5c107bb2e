#include "view/trees_ahead.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace respaldo::view {

namespace {

constexpr std::uint64_t kMostHeld = 4U << 20;
// Longer trees are read when they are asked for, one at a time.
constexpr std::uint64_t kLongestAhead = 1U << 20;
// What a folder counts at least, so that empty and missing trees come to an end as well. It also bounds how
// deep folders that nobody took own each other: their destruction is a recursion.
constexpr std::uint64_t kLeastHeld = 4096;

}  // namespace

class TreesAhead::Folder {
 public:
  enum class State { announced, being_read, read, gone };

  Folder(const repo::BlobId& its_tree, std::uint64_t its_length)
      : tree(its_tree), length(its_length), held(its_length) {}

  const repo::BlobId tree;
  const std::uint64_t length;  // of its JSON, kLeastHeld at least
  // Under the mutex:
  std::uint64_t held;  // what it counts
  State state = State::announced;
  Folders::iterator place;     // while announced or being read
  Contents contents;           // when read
  std::exception_ptr failure;  // instead of them
};

struct TreesAhead::Found {
  Contents contents;
  Folders folders;  // the same as in the contents, ready to be announced: without the mutex, and with no
                    // memory needed then
};

TreesAhead::TreesAhead(const repo::IndexedRepository& repository, unsigned threads)
    : repository_(repository), most_threads_(threads) {
  threads_.reserve(threads);
}

TreesAhead::~TreesAhead() {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wanted_.notify_all();
}

TreesAhead::Found TreesAhead::read(const repo::BlobId& tree) const {
  Found found{{repository_.load_tree(tree).nodes, {}}, {}};
  for (const repo::Node& node : found.contents.nodes) {
    if (!is_folder(node)) continue;
    std::uint64_t length = kLeastHeld;
    // Any of them may be the one that is whole.
    for (const repo::BlobLocation& location :
         repository_.index().find_all(repo::BlobType::tree, *node.subtree))
      length = std::max<std::uint64_t>(length, location.plain_length());
    found.contents.folders.push_back(std::make_shared<Folder>(*node.subtree, length));
    found.folders.push_back(found.contents.folders.back());
  }
  return found;
}

void TreesAhead::announce(Folders& folders, Folders::iterator before) {
  for (auto at = folders.begin(); at != folders.end(); ++at) (*at)->place = at;
  waiting_.splice(before, folders);
  wake();
}

TreesAhead::Contents TreesAhead::begin(const repo::BlobId& tree) {
  Found found = read(tree);
  Lock lock(mutex_);
  announce(found.folders, waiting_.begin());
  try {
    while (threads_.size() < most_threads_ && !waiting_.empty()) threads_.emplace_back([this] { work(); });
  } catch (const std::exception&) {
    // No room for threads: whoever walks reads.
  }
  return std::move(found.contents);
}

TreesAhead::Contents TreesAhead::take(const std::shared_ptr<Folder>& folder) {
  Lock lock(mutex_);
  if (folder->state == Folder::State::announced) read(folder, lock);
  read_.wait(lock, [&] { return folder->state != Folder::State::being_read; });
  folder->state = Folder::State::gone;
  let_go(folder->held);
  if (folder->failure) std::rethrow_exception(std::exchange(folder->failure, nullptr));
  return std::move(folder->contents);
}

void TreesAhead::pass_over(std::shared_ptr<Folder> folder) {
  std::vector<std::shared_ptr<Folder>> all{std::move(folder)};
  Lock lock(mutex_);
  while (!all.empty()) {
    const auto one = std::move(all.back());
    all.pop_back();
    switch (std::exchange(one->state, Folder::State::gone)) {
      case Folder::State::announced:
      case Folder::State::being_read:  // who reads it drops what was read
        waiting_.erase(one->place);
        break;
      case Folder::State::read: {
        // None is destroyed with others in it: a chain of them may be long.
        const Contents contents = std::move(one->contents);
        all.insert(all.end(), contents.folders.begin(), contents.folders.end());
        let_go(one->held);
        break;
      }
      case Folder::State::gone:
        break;
    }
  }
  wake();
}

void TreesAhead::let_go(std::uint64_t bytes) {
  held_ -= bytes;
  // Not for each: who sleeps is dear to wake.
  if (held_ <= kMostHeld / 2) full_ = false;
  wake();
}

// The next that may be read before it is asked for. None behind one that may not: what is read is soon
// wanted.
std::shared_ptr<TreesAhead::Folder> TreesAhead::next() const {
  if (full_) return nullptr;
  for (const auto& folder : waiting_)
    if (folder->state == Folder::State::announced) return folder->length <= kLongestAhead ? folder : nullptr;
  return nullptr;
}

void TreesAhead::wake() {
  if (idle_ > 0 && next()) wanted_.notify_one();
}

// It keeps its place in the walk until those below it have theirs. The lock is open meanwhile.
void TreesAhead::read(const std::shared_ptr<Folder>& folder, Lock& lock) {
  folder->state = Folder::State::being_read;
  held_ += folder->held;
  full_ = full_ || held_ >= kMostHeld;
  wake();
  lock.unlock();
  Found found;
  std::exception_ptr failure;
  try {
    found = read(folder->tree);
  } catch (...) {
    failure = std::current_exception();
  }
  // Short JSON makes long nodes.
  const std::uint64_t held =
      std::max(folder->length, std::uint64_t{found.contents.nodes.size() * sizeof(repo::Node)});
  lock.lock();
  if (folder->state == Folder::State::gone) {
    let_go(folder->held);
    return;
  }
  held_ += held - std::exchange(folder->held, held);
  full_ = full_ || held_ >= kMostHeld;
  folder->contents = std::move(found.contents);
  folder->failure = std::move(failure);
  folder->state = Folder::State::read;
  announce(found.folders, waiting_.erase(folder->place));
  read_.notify_all();
}

void TreesAhead::work() {
  Lock lock(mutex_);
  for (;;) {
    std::shared_ptr<Folder> folder;
    ++idle_;
    wanted_.wait(lock, [&] { return ended_ || (folder = next()) != nullptr; });
    --idle_;
    if (ended_) return;
    read(folder, lock);
  }
}

}  // namespace respaldo::view
