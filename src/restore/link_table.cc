#include "restore/link_table.h"

#include <functional>
#include <string>

namespace respaldo::restore {

std::optional<LinkKey> link_key(const repo::Node& node) {
  if (node.links < 2 || node.inode == 0) return std::nullopt;
  return LinkKey{node.inode, node.device_id};
}

std::uint64_t link_digest(const repo::Node& node) {
  std::uint64_t digest = static_cast<std::uint64_t>(node.type) + 1;
  const auto mix = [&](std::uint64_t value) {
    digest = (digest ^ value) * 0x9E3779B97F4A7C15U;
    digest ^= digest >> 29;
  };
  mix(node.size);
  mix(node.device);
  mix(std::hash<std::string>()(node.link_target));
  mix(node.content.size());
  for (const repo::BlobId& id : node.content) mix(std::hash<repo::BlobId>()(id));
  return digest;
}

}  // namespace respaldo::restore
