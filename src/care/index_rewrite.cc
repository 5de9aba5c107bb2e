#include "care/index_rewrite.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/units.h"
#include "os/thread_group.h"
#include "repo/references.h"

namespace respaldo::care {

namespace {

using repo::PackContents;
using repo::PackId;
using store::FileType;

constexpr std::uint64_t kBlobsInFile = 50000;     // as restic
constexpr std::uint64_t kSmallFile = 512 * kKiB;  // stored bytes; a full one has about 2 MiB
constexpr std::size_t kWorthMerging = 4;

class Rewriter {
 public:
  Rewriter(repo::Repository& repository, const repo::Index& before, const IndexChange& change,
           repo::RepoLock* lock, Progress& progress)
      : repository_(repository), before_(before), change_(change), lock_(lock), progress_(progress) {
    before.for_each_pack([&](const PackContents& pack) { blobs_.emplace(pack.pack, pack.blobs.size()); });
    for (const PackContents& pack : change.replace) replaced_.insert(pack.pack);
  }

  IndexFiles run(const std::stop_token& stop) {
    std::vector<store::FileInfo> files = repository_.backend().list(FileType::index);
    std::ranges::sort(files, {}, &store::FileInfo::name);
    const auto is_small = [](const store::FileInfo& file) { return file.size < kSmallFile; };
    const bool merge = static_cast<std::size_t>(std::ranges::count_if(files, is_small)) >= kWorthMerging;
    {
      const ProgressPhase phase(progress_, "writing the index", 0);
      for (const store::FileInfo& file : files) {
        os::throw_if_stopped(stop);
        read(file.name, merge && is_small(file));
      }
      add_split_packs();
      for (const PackContents& pack : change_.replace) add(pack);
      flush();
    }
    // A file whose new form is what it was.
    std::erase_if(old_, [&](const std::string& name) { return written_.contains(name); });
    remove_files(repository_, FileType::index, old_, lock_, progress_);
    repository_.backend().sync();
    result_.removed = old_.size();
    return result_;
  }

 private:
  bool stays(const PackContents& pack) {
    if (replaced_.contains(pack.pack) || std::ranges::binary_search(change_.drop, pack.pack)) return false;
    const auto all = blobs_.find(pack.pack);
    if (all != blobs_.end() && all->second > pack.blobs.size()) {
      split_.insert(pack.pack);
      return false;
    }
    return seen_.insert(pack.pack).second;
  }

  void read(const std::string& name, bool rewrite) {
    std::vector<PackContents> packs;
    try {
      packs = in_context([&] { return "index " + name.substr(0, 8); },
                         [&] { return repo::parse_index(repository_.load_unpacked(FileType::index, name)); });
    } catch (const Error& error) {
      if (!change_.discard_unreadable || error.kind() != ErrorKind::corrupt) throw;
      old_.push_back(name);
      return;
    }
    const std::size_t before = packs.size();
    std::erase_if(packs, [&](const PackContents& pack) { return !stays(pack); });
    if (!rewrite && packs.size() == before) {
      ++result_.kept;
      return;
    }
    old_.push_back(name);
    for (PackContents& pack : packs) add(std::move(pack));
  }

  // A pack whose blobs are spread over several files is told whole.
  void add_split_packs() {
    if (split_.empty()) return;
    before_.for_each_pack([&](const PackContents& pack) {
      if (split_.contains(pack.pack) && seen_.insert(pack.pack).second) add(pack);
    });
  }

  void add(PackContents pack) {
    pending_blobs_ += pack.blobs.size();
    pending_.push_back(std::move(pack));
    if (pending_blobs_ >= kBlobsInFile) flush();
  }

  void flush() {
    if (pending_.empty()) return;
    written_.insert(
        repository_.save_unpacked(FileType::index, repo::to_json(pending_), store::Durability::now));
    ++result_.written;
    pending_.clear();
    pending_blobs_ = 0;
  }

  repo::Repository& repository_;
  const repo::Index& before_;
  const IndexChange& change_;
  repo::RepoLock* const lock_;
  Progress& progress_;
  std::unordered_map<PackId, std::uint64_t> blobs_;  // of all packs that `before` knows
  std::unordered_set<PackId> seen_, split_, replaced_;
  std::vector<PackContents> pending_;
  std::uint64_t pending_blobs_ = 0;
  std::vector<std::string> old_;
  std::unordered_set<std::string> written_;
  IndexFiles result_;
};

}  // namespace

IndexFiles rewrite_index(repo::Repository& repository, const repo::Index& before, const IndexChange& change,
                         repo::RepoLock* lock, Progress& progress, const std::stop_token& stop) {
  return Rewriter(repository, before, change, lock, progress).run(stop);
}

void remove_files(repo::Repository& repository, FileType type, const std::vector<std::string>& names,
                  repo::RepoLock* lock, Progress& progress) {
  if (names.empty()) return;
  if (lock != nullptr) lock->require();
  const ProgressPhase phase(progress, type == FileType::pack ? "removing packs" : "removing old index files",
                            0);
  std::vector<store::Handle> files;
  for (const std::string& name : names) files.push_back({type, name});
  // All at once: parity over groups of packs is made anew once for each group.
  repository.backend().remove_many(files);
}

}  // namespace respaldo::care
