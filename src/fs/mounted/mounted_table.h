// The walked tree in memory: about 170 bytes for each file with its name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/file_reader.h"

namespace respaldo::fs {

struct MountedNode {
  std::uint64_t inode = 0, size = 0, device = 0;
  std::int64_t atime = 0, mtime = 0, ctime = 0;
  std::uint32_t atime_ns = 0, mtime_ns = 0, ctime_ns = 0;
  std::uint32_t mode = 0, uid = 0, gid = 0, links = 0, subvolume = 0;
  std::uint32_t name = kNoNode;  // the entry that names it; the root has none
  std::uint32_t xattrs = kNoNode;
  std::uint64_t target = 0;  // where its link target begins in `bytes`
  std::uint32_t target_length = 0;
  bool readable = true;
  std::uint64_t first_extent = 0;
  std::uint32_t extent_count = 0;
  std::uint32_t first_entry = 0, entry_count = 0;
};

struct MountedEntry {
  NodeIndex directory = kNoNode, node = kNoNode;
  std::uint64_t name : 48 = 0;
  std::uint64_t name_length : 16 = 0;
};

struct MountedTable {
  std::vector<MountedNode> nodes;              // the root is the first
  std::vector<MountedEntry> entries;           // of each directory together, ascending by name
  std::vector<FileExtent> extents;             // of each file together
  std::string bytes;                           // names, link targets
  std::vector<std::vector<FileXattr>> xattrs;  // distinct sets

  std::string_view name_of(const MountedEntry& entry) const {
    return std::string_view(bytes).substr(entry.name, entry.name_length);
  }
  // Sets of attributes are kept once each.
  std::uint32_t intern(std::vector<FileXattr> set);
  std::string path(NodeIndex node) const;  // "/" for the root

 private:
  std::unordered_map<std::string, std::uint32_t> numbers_;
};

}  // namespace respaldo::fs
