#include "backup/tree_builder.h"

#include <sys/stat.h>

#include "base/endian.h"
#include "crypto/crypto.h"

namespace respaldo::backup {

std::uint64_t synthetic_inode(std::string_view path) {
  constexpr std::uint64_t kMark = std::uint64_t{0x7e5b} << 48, kMask = (std::uint64_t{1} << 48) - 1;
  return kMark | (load_le64(crypto::sha256(as_bytes(path)).data()) & kMask);
}

repo::Node TreeBuilder::node(std::string_view path) const {
  repo::Node node;
  node.name = path.substr(path.rfind('/') + 1);
  node.mtime = node.atime = node.ctime = time_;
  node.inode = synthetic_inode(path);
  return node;
}

void TreeBuilder::keep_time(repo::Node& node, std::string_view path) const {
  if (!before_) return;
  const auto old = before_(std::string(path));
  if (!old || old->type != node.type || old->size != node.size || old->content != node.content ||
      old->subtree != node.subtree)
    return;
  node.mtime = old->mtime;
  node.atime = old->atime;
  node.ctime = old->ctime;
}

repo::Node TreeBuilder::file(std::string_view path, std::uint64_t size, std::vector<repo::BlobId> content) {
  repo::Node result = node(path);
  result.type = repo::NodeType::file;
  result.mode = S_IFREG | 0600;
  result.links = 1;
  result.size = size;
  result.content = std::move(content);
  keep_time(result, path);
  made_.push_back(fingerprint(std::string(path), result));
  return result;
}

repo::Node TreeBuilder::folder(std::string_view path, repo::Tree tree) {
  repo::Node result = node(path);
  result.type = repo::NodeType::dir;
  result.mode = S_IFDIR | 0700;
  result.subtree = save_(std::move(tree));
  keep_time(result, path);
  made_.push_back(fingerprint(std::string(path), result));
  return result;
}

}  // namespace respaldo::backup
