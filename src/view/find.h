// Files looked for by name, type, size and time through many stored trees.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "repo/repository.h"

namespace respaldo::view {

// "+10M" (more than), "-4k" (less than), "512" (exactly).
struct SizeTest {
  std::uint64_t at_least = 0, at_most = UINT64_MAX;
  static SizeTest parse(std::string_view text);  // Error(usage)
};

// What is looked for; all that is given must hold.
struct FindQuery {
  std::vector<std::string> patterns;  // one of them must fit; none: every name does
  bool ignore_case = false;
  std::vector<repo::NodeType> types;  // one of them
  std::optional<SizeTest> size;       // files only
  std::optional<std::int64_t> newer;  // changed (mtime) at this second of 1970 or later
  std::optional<std::int64_t> older;  // changed before it
};

// Shell patterns: on the name, or, when they hold a '/', on the whole path, in which '*' and '?' take '/'
// too; one that begins with neither '/' nor '*' may begin below any folder. Names are UTF-8 where they can be
// read so. A value; const functions are thread-safe.
class FindMatcher {
 public:
  explicit FindMatcher(FindQuery query);
  bool matches(const repo::Node& node, std::string_view path) const;
  bool looks_at_paths() const { return looks_at_paths_; }  // else equal folders have equal matches

 private:
  bool name_fits(const std::string& name, const std::string& path) const;
  FindQuery query_;
  bool looks_at_paths_ = false;
};

// What is told of an entry.
struct FoundEntry {
  std::string name;
  repo::NodeType type = repo::NodeType::file;
  std::uint32_t mode = 0, uid = 0, gid = 0;
  std::uint64_t size = 0;
  repo::Timestamp mtime;
  std::string link_target;
};

// Goes through trees, each one read once: what was found in a tree is remembered by its id, as backups share
// most of theirs. When the memory given is used up, further trees are read each time. No recursion; depth and
// paths are bounded. Not thread-safe. The repository must outlive it.
class Finder {
 public:
  Finder(const repo::IndexedRepository& repository, FindMatcher matcher,
         std::uint64_t memory_bytes = std::uint64_t{256} << 20);

  using Take = std::function<void(const std::string& path, const FoundEntry& entry)>;
  // A tree that cannot be read: told once, the search goes on beside it.
  using Problem = std::function<void(const std::string& path, const Error& error)>;

  // Everything that fits at `path` (when it has a name) and below, parents first, in tree order. Cancelled on
  // stop.
  void find(const repo::Node& start, const std::string& path, const Take& take, const Problem& problem,
            const std::stop_token& stop);

  std::uint64_t trees_read() const { return trees_read_; }

 private:
  // An entry that fits, or a folder below which something may.
  struct Item {
    FoundEntry entry;
    bool fits = false;
    std::optional<repo::BlobId> subtree;
  };
  using Items = std::vector<Item>;
  struct Level {
    std::shared_ptr<Items> items;
    std::size_t next = 0, path_length = 0;
    std::string key;
    bool fresh = false, nothing = true;  // read just now; nothing was found below so far
  };
  std::string key_of(const repo::BlobId& id, const std::string& path) const;
  Level enter(const repo::BlobId& id, const std::string& path, const Problem& problem);
  std::shared_ptr<Items> read(const repo::BlobId& id, const std::string& path);
  void remember(Level& level);

  const repo::IndexedRepository& repository_;
  const FindMatcher matcher_;
  const std::uint64_t memory_;
  std::uint64_t used_ = 0, trees_read_ = 0;
  std::unordered_map<std::string, std::shared_ptr<Items>> known_;  // null: nothing fits below
};

}  // namespace respaldo::view
