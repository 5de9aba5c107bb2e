// The walked filesystem in memory: packed so that a million files stay well below 300 MB.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/ext/ext_reader.h"

namespace respaldo::fs::ext {

// Seconds and nanoseconds of ext4 in 34 + 30 bits.
class PackedTime {
 public:
  PackedTime() = default;
  PackedTime(std::int64_t seconds, std::uint32_t nanoseconds)
      : bits_(static_cast<std::uint64_t>(seconds + kBias) << 30 | nanoseconds) {}
  FileTime unpack() const {
    return {static_cast<std::int64_t>(bits_ >> 30) - kBias,
            static_cast<std::uint32_t>(bits_ & ((1U << 30) - 1))};
  }

 private:
  static constexpr std::int64_t kBias = std::int64_t{1} << 31;
  std::uint64_t bits_ = 0;
};

// In blocks of the filesystem.
struct PackedExtent {
  std::uint64_t physical : 63 = 0;
  std::uint64_t unwritten : 1 = 0;
  std::uint32_t logical = 0;
  std::uint32_t length = 0;
};
static_assert(sizeof(PackedExtent) == 16);

enum NodeTrait : std::uint16_t {
  kUnreadable = 1,  // what the data is made of is not known
  kHidden = 2,      // the filesystem's own: reserved inodes, values of extended attributes
  kNamed = 4,       // reached from the root
  kInline = 8,      // payload is inline data (or, of a directory, was)
  kLostXattrs = 16,
};

inline constexpr std::uint32_t kNone = ~std::uint32_t{0};

struct NodeRecord {
  std::uint32_t inode = 0;
  std::uint16_t mode = 0, traits = 0;
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t links = 0, flags = 0;
  std::uint64_t size = 0;
  PackedTime atime, mtime, ctime;
  std::uint64_t payload = 0;  // st_rdev, or where link target and inline data begin in `bytes`
  std::uint32_t payload_length = 0;
  std::uint32_t checksum_seed = 0;  // of the inode's own blocks
  std::uint32_t first_extent = 0, extent_count = 0;
  std::uint32_t own_xattrs = kNone, block_xattrs = kNone;  // numbers of sets
  std::uint32_t first_entry = 0, entry_count = 0;          // of directories
  std::uint32_t name = kNone;                              // entry that names it
};
static_assert(sizeof(NodeRecord) == 104);

struct EntryRecord {
  NodeIndex directory = kNoNode;
  NodeIndex node = kNoNode;
  std::uint64_t name : 48 = 0;  // where it begins in `names`
  std::uint64_t name_length : 16 = 0;
};
static_assert(sizeof(EntryRecord) == 16);

// One extended attribute as stored; the value is in the set's bytes or in an inode of its own.
struct StoredXattr {
  std::uint8_t index = 0;
  std::string_view name, value;
  std::uint32_t value_inode = 0, value_size = 0, hash = 0;
};

// Encoded sets of extended attributes, each distinct one kept once.
class XattrSets {
 public:
  std::uint32_t intern(std::string_view encoded);  // number of the set; kNone for an empty one
  std::vector<StoredXattr> decode(std::uint32_t set) const;
  static void encode(const StoredXattr& xattr, std::string& out);

 private:
  std::string_view at(std::uint32_t set) const;
  std::vector<char> bytes_;
  std::vector<std::uint64_t> ends_;
  std::unordered_multimap<std::uint64_t, std::uint32_t> by_hash_;
};

struct NodeTable {
  std::vector<NodeRecord> nodes;      // ascending by inode
  std::vector<PackedExtent> extents;  // of each node together, ascending by logical block
  std::vector<EntryRecord> entries;   // of each directory together, ascending by name
  std::vector<char> names;
  std::vector<char> bytes;  // link targets, inline data
  XattrSets xattrs;

  NodeIndex find(std::uint32_t inode) const;  // kNoNode
  std::string_view name_of(const EntryRecord& entry) const {
    return {names.data() + entry.name, entry.name_length};
  }
  std::string_view payload_of(const NodeRecord& node) const {
    return {bytes.data() + node.payload, node.payload_length};
  }
  void set_payload(NodeRecord& node, std::string_view contents);
  std::string path(NodeIndex node) const;  // "" when it has no name
};

}  // namespace respaldo::fs::ext
