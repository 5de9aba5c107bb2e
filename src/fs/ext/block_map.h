// Where the blocks of inodes lie: extent trees and indirect blocks, read level by level in disk order.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "fs/ext/ext_format.h"
#include "fs/ext/handle.h"
#include "fs/ext/node_table.h"
#include "fs/ext/scan_state.h"

namespace respaldo::fs::ext {

// The logical blocks [first, end) of a file.
struct LogicalRange {
  std::uint64_t first = 0, end = std::uint64_t{1} << 32;
};

// A block of a mapping tree that is still to be read.
struct TreeBlock {
  std::uint64_t block = 0;
  LogicalRange range;
  NodeIndex node = kNoNode;
  std::uint8_t level =
      0;  // extent trees: depth in its header; indirect: how many blocks of pointers to the data
  bool indirect = false;
};

// What one node of a tree holds.
struct TreeContent {
  std::vector<PackedExtent> extents;
  std::vector<TreeBlock> children;  // node and indirect are left to the caller
};

// Pure. `bytes` is a whole node (60 bytes in an inode, else a block); `depth` what its header must say, -1
// for a root. Returns what is wrong, or null. Everything lies in `range`, ascending; block numbers are not
// judged.
const char* parse_extent_node(ByteView bytes, int depth, LogicalRange range, TreeContent& out);
// `bytes` are pointers of 4 bytes, each for `span` logical blocks from range.first on; span 1: data blocks.
void parse_pointers(ByteView bytes, std::uint64_t span, LogicalRange range, TreeContent& out);

// Collects the mapping of all inodes into the table. Usage: add() for each inode, then finish() once.
class BlockMap {
 public:
  explicit BlockMap(ScanState& state) : state_(state) {}
  // `block` is i_block. Marks the node unreadable (with a finding) when its tree is damaged.
  void add(NodeIndex node, ByteView block);
  void finish();

 private:
  void take(const TreeBlock& parent, TreeContent& content, bool in_inode);
  void fail(NodeIndex node, std::string what);
  void read_block(const TreeBlock& tree, ByteView bytes, const std::string& error);

  struct Deep {
    NodeIndex node;
    PackedExtent extent;
  };
  ScanState& state_;
  std::vector<TreeBlock> pending_, next_;
  std::vector<Deep> deep_;  // extents of trees of more than the inode
  TreeContent content_;     // reused
};

// Appends, joined with the last when both sides touch.
void append_extent(std::vector<PackedExtent>& extents, std::size_t first_of_node, const PackedExtent& extent);

}  // namespace respaldo::fs::ext
