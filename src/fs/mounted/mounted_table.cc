#include "fs/mounted/mounted_table.h"

namespace respaldo::fs {

std::uint32_t MountedTable::intern(std::vector<FileXattr> set) {
  if (set.empty()) return kNoNode;
  std::string key;
  for (const FileXattr& xattr : set) {
    key += std::to_string(xattr.name.size()) + ":" + xattr.name;
    key += std::to_string(xattr.value.size()) + ":" + xattr.value;
  }
  const auto [at, is_new] = numbers_.try_emplace(std::move(key), static_cast<std::uint32_t>(xattrs.size()));
  if (is_new) xattrs.push_back(std::move(set));
  return at->second;
}

std::string MountedTable::path(NodeIndex node) const {
  std::vector<std::string_view> names;
  while (nodes.at(node).name != kNoNode) {
    const MountedEntry& entry = entries[nodes[node].name];
    names.push_back(name_of(entry));
    node = entry.directory;
  }
  if (names.empty()) return "/";
  std::string result;
  for (auto name = names.rbegin(); name != names.rend(); ++name) result.append("/").append(*name);
  return result;
}

}  // namespace respaldo::fs
