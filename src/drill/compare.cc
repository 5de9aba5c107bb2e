#include "drill/compare.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <optional>

#include "base/printable.h"
#include "crypto/crypto.h"
#include "os/thread_group.h"
#include "view/tree_walk.h"

namespace respaldo::drill {

namespace {

constexpr std::size_t kMostTold = 20;
constexpr std::uint64_t kAlwaysCompared = 100;

// The node at a path of the walked filesystem ("/etc/passwd").
std::optional<fs::NodeIndex> find_path(const fs::ExtReader& reader, std::string_view path) {
  fs::NodeIndex at = reader.root();
  if (at == fs::kNoNode) return std::nullopt;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(name.size());
    std::size_t low = 0, high = reader.entry_count(at);
    while (low < high) {
      const std::size_t middle = (low + high) / 2;
      if (reader.entry(at, middle).name < name)
        low = middle + 1;
      else
        high = middle;
    }
    if (low == reader.entry_count(at) || reader.entry(at, low).name != name) return std::nullopt;
    at = reader.entry(at, low).node;
  }
  return at;
}

class Comparison {
 public:
  Comparison(const repo::IndexedRepository& repository, const Sample& sample, Progress& progress,
             const std::stop_token& stop)
      : repository_(repository), sample_(sample), progress_(progress), stop_(stop) {}

  CompareResult run(const repo::Node& root, const fs::ExtReader* reader) {
    view::TreeWalk walk(repository_, root, "");
    for (;;) {
      os::throw_if_stopped(stop_);
      try {
        if (!walk.next()) break;
      } catch (const Error& error) {
        differs(walk.entry().path, fmt::format("the folder cannot be read: {}", error.what()));
        continue;
      }
      const auto& entry = walk.entry();
      const bool file = entry.node.type == repo::NodeType::file;
      if (file) ++result_.files;
      if (reader != nullptr)
        compare(entry.path, entry.node, *reader);
      else if (file && is_sampled(entry.path))
        load(entry.path, entry.node);
    }
    return std::move(result_);
  }

 private:
  bool is_sampled(const std::string& path) const {
    return result_.compared < kAlwaysCompared || sample_.takes(path);
  }

  void compare(const std::string& path, const repo::Node& node, const fs::ExtReader& reader) {
    const auto found = find_path(reader, path);
    if (!found) {
      differs(path, "it is in the backup's files, and not in the restored image");
      return;
    }
    const fs::FileNode real = reader.node(*found);
    if (real.uid != node.uid || real.gid != node.gid) differs(path, "another owner");
    if (node.type == repo::NodeType::symlink && reader.link_target(*found) != node.link_target)
      differs(path, "another link target");
    if (node.type != repo::NodeType::file) return;
    if (!S_ISREG(real.mode)) {
      differs(path, "it is no file in the restored image");
    } else if (real.size != node.size) {
      differs(path,
              fmt::format("{} bytes in the restored image, {} in the backup's files", real.size, node.size));
    } else if (is_sampled(path)) {
      content(path, node, reader, *found);
    }
  }

  // Blob after blob, out of the image.
  void content(const std::string& path, const repo::Node& node, const fs::ExtReader& reader,
               fs::NodeIndex file) {
    ++result_.compared;
    std::uint64_t offset = 0;
    for (const repo::BlobId& id : node.content) {
      os::throw_if_stopped(stop_);
      const auto location = repository_.index().find(repo::BlobType::data, id);
      if (!location) {
        differs(path, fmt::format("the blob {} is in no index", id.short_hex()));
        return;
      }
      const std::uint64_t length = location->plain_length();
      if (buffer_.size() < length) buffer_ = Bytes(static_cast<std::size_t>(length));
      const MutableBytes bytes = buffer_.span().first(static_cast<std::size_t>(length));
      try {
        if (reader.read(file, offset, bytes) != length || crypto::sha256(bytes) != id.bytes) {
          differs(path, fmt::format("other content at byte {}", offset));
          return;
        }
      } catch (const Error& error) {
        differs(path, error.what());
        return;
      }
      offset += length;
      result_.compared_bytes += length;
      progress_.advance(length);
    }
  }

  void load(const std::string& path, const repo::Node& node) {
    ++result_.compared;
    try {
      for (const repo::BlobId& id : node.content) {
        os::throw_if_stopped(stop_);
        const std::size_t length = repository_.load_blob(repo::BlobType::data, id).size();
        result_.compared_bytes += length;
        progress_.advance(length);
      }
    } catch (const Error& error) {
      differs(path, error.what());
    }
  }

  void differs(const std::string& path, const std::string& why) {
    ++result_.different;
    if (result_.differences.size() < kMostTold)
      result_.differences.push_back(fmt::format("{}: {}", printable(path), why));
  }

  const repo::IndexedRepository& repository_;
  const Sample& sample_;
  Progress& progress_;
  const std::stop_token& stop_;
  CompareResult result_;
  Bytes buffer_;
};

}  // namespace

bool Sample::takes(std::string_view path) const {
  if (percent >= 100) return true;
  // FNV-1a: spread evenly is all that is asked for.
  std::uint64_t hash = 0xcbf29ce484222325 ^ seed;
  for (const unsigned char c : path) hash = (hash ^ c) * 0x100000001b3;
  hash ^= hash >> 32;
  return hash % 100 < percent;
}

CompareResult compare_with_image(const repo::IndexedRepository& repository, const repo::Node& root,
                                 const fs::ExtReader& reader, const Sample& sample, Progress& progress,
                                 const std::stop_token& stop) {
  return Comparison(repository, sample, progress, stop).run(root, &reader);
}

CompareResult verify_content(const repo::IndexedRepository& repository, const repo::Node& root,
                             const Sample& sample, Progress& progress, const std::stop_token& stop) {
  return Comparison(repository, sample, progress, stop).run(root, nullptr);
}

}  // namespace respaldo::drill
