// Trees and nodes, as restic writes them. docs/formats/restic.md section "trees".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "repo/id.h"

namespace respaldo::repo {

struct Timestamp {
  std::int64_t seconds = 0;  // since 1970, may be negative
  std::uint32_t nanoseconds = 0;
  std::int32_t zone_seconds = 0;  // offset from UTC it was written with; we write 0
  friend bool operator==(const Timestamp&, const Timestamp&) = default;
};
// RFC 3339 as Go prints it; years are clamped to 0..9999.
std::string format_time(const Timestamp& time);
std::optional<Timestamp> parse_time(std::string_view text);
Timestamp now();

enum class NodeType { file, dir, symlink, dev, chardev, fifo, socket, unknown };

struct ExtendedAttribute {
  std::string name, value;  // value: raw bytes
  friend bool operator==(const ExtendedAttribute&, const ExtendedAttribute&) = default;
};

struct Node {
  std::string name;  // raw bytes, not escaped
  NodeType type = NodeType::file;
  std::uint32_t mode =
      0;  // st_mode bits: permission, setuid/setgid/sticky and type; converted to Go's on writing
  Timestamp mtime, atime, ctime;
  std::uint32_t uid = 0, gid = 0;
  std::string user, group;
  std::uint64_t inode = 0, device_id = 0, size = 0, links = 0;
  std::string link_target;  // raw bytes
  std::vector<ExtendedAttribute> xattrs;
  std::uint64_t device = 0;       // st_rdev
  std::vector<BlobId> content;    // files
  std::optional<BlobId> subtree;  // dirs
};

struct Tree {
  std::vector<Node> nodes;
};

inline constexpr std::size_t kLongestTree = 1U << 30;  // bytes of JSON that are stored and read

// Canonical JSON: byte for byte what restic writes. Sorts nodes by raw name; Error(internal) when two have
// one name.
std::string to_json(Tree tree);
// Of at most `longest` bytes: nodes that do not fit leave the tree, their names go to `left_out`. Sorts the others.
std::string to_json(Tree& tree, std::size_t longest, std::vector<std::string>& left_out);
// Bounded and checked: Error(corrupt) for what is not a tree. Names are NOT judged here (restore does): they
// may be "..", contain '/', or be empty. Unknown node types become NodeType::unknown.
Tree parse_tree(ByteView json);
// The same for many trees one after another: faster.
Tree parse_next_tree(Bytes json);

}  // namespace respaldo::repo
