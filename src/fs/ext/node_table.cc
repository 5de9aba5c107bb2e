#include "fs/ext/node_table.h"

#include <algorithm>
#include <cstring>
#include <ranges>

#include "base/endian.h"
#include "fs/ext/ext_format.h"

namespace respaldo::fs::ext {

std::string_view XattrSets::at(std::uint32_t set) const {
  const std::uint64_t begin = set == 0 ? 0 : ends_[set - 1];
  return {bytes_.data() + begin, ends_[set] - begin};
}

std::uint32_t XattrSets::intern(std::string_view encoded) {
  if (encoded.empty()) return kNone;
  const std::uint64_t hash = std::hash<std::string_view>{}(encoded);
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto it = first; it != last; ++it)
    if (at(it->second) == encoded) return it->second;
  const auto number = static_cast<std::uint32_t>(ends_.size());
  bytes_.insert(bytes_.end(), encoded.begin(), encoded.end());
  ends_.push_back(bytes_.size());
  by_hash_.emplace(hash, number);
  return number;
}

// index, name length, then four Le32: length of the stored value, value_inode, value_size, hash; name; value.
void XattrSets::encode(const StoredXattr& xattr, std::string& out) {
  std::uint8_t head[18] = {xattr.index, static_cast<std::uint8_t>(xattr.name.size())};
  store_le32(head + 2, static_cast<std::uint32_t>(xattr.value.size()));
  store_le32(head + 6, xattr.value_inode);
  store_le32(head + 10, xattr.value_size);
  store_le32(head + 14, xattr.hash);
  out.append(as_text(head));
  out.append(xattr.name);
  out.append(xattr.value);
}

std::vector<StoredXattr> XattrSets::decode(std::uint32_t set) const {
  std::vector<StoredXattr> result;
  if (set == kNone) return result;
  for (std::string_view rest = at(set); !rest.empty();) {
    const auto* head = as_bytes(rest).data();
    const std::size_t name = head[1], value = load_le32(head + 2);
    result.push_back({head[0], rest.substr(18, name), rest.substr(18 + name, value), load_le32(head + 6),
                      load_le32(head + 10), load_le32(head + 14)});
    rest.remove_prefix(18 + name + value);
  }
  return result;
}

NodeIndex NodeTable::find(std::uint32_t inode) const {
  const auto it = std::ranges::lower_bound(nodes, inode, {}, &NodeRecord::inode);
  return it != nodes.end() && it->inode == inode ? static_cast<NodeIndex>(it - nodes.begin()) : kNoNode;
}

void NodeTable::set_payload(NodeRecord& node, std::string_view contents) {
  node.payload = bytes.size();
  node.payload_length = static_cast<std::uint32_t>(contents.size());
  bytes.insert(bytes.end(), contents.begin(), contents.end());
}

std::string NodeTable::path(NodeIndex node) const {
  if (node == kNoNode) return {};
  if (nodes[node].inode == kRootInode) return "/";
  std::vector<std::string_view> parts;
  while (nodes[node].inode != kRootInode) {  // names were only given on the way down from the root: no cycles
    if (nodes[node].name == kNone) return {};
    const EntryRecord& entry = entries[nodes[node].name];
    parts.push_back(name_of(entry));
    node = entry.directory;
  }
  std::string path;
  for (const std::string_view part : parts | std::views::reverse) path.append("/").append(part);
  return path;
}

}  // namespace respaldo::fs::ext
