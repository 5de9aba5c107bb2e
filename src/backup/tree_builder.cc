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

// Keeps the parent's time where nothing else differs.
void TreeBuilder::finish(repo::Node& node, std::string_view path) {
  const Fingerprint& now = made_.emplace_back(fingerprint(std::string(path), node));
  const ParentFolders::Entry* old = before_ ? before_(now.path) : nullptr;
  if (old == nullptr || old->type != node.type || old->print.size != now.size ||
      old->print.digest != now.digest)
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
  finish(result, path);
  return result;
}

repo::Node TreeBuilder::folder(std::string_view path, repo::Tree tree) {
  repo::Node result = node(path);
  result.type = repo::NodeType::dir;
  result.mode = S_IFDIR | 0700;
  result.subtree = save_(std::move(tree));
  finish(result, path);
  return result;
}

}  // namespace respaldo::backup
