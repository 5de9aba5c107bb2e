#include "fs/ext/block_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "fs/ext/read_ahead.h"

namespace respaldo::fs::ext {

namespace {

constexpr std::size_t kEntrySize = sizeof(ExtentLeafDisk);
constexpr unsigned kDirectPointers = 12;

template <class T>
T load(ByteView bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

}  // namespace

void append_extent(std::vector<PackedExtent>& extents, std::size_t first_of_node,
                   const PackedExtent& extent) {
  if (extents.size() > first_of_node) {
    PackedExtent& last = extents.back();
    if (last.unwritten == extent.unwritten && std::uint64_t{last.logical} + last.length == extent.logical &&
        last.physical + last.length == extent.physical) {
      last.length += extent.length;  // logical blocks are 32 bits: the sum fits
      return;
    }
  }
  extents.push_back(extent);
}

const char* parse_extent_node(ByteView bytes, int depth, LogicalRange range, TreeContent& out) {
  out.extents.clear();
  out.children.clear();
  const auto header = load<ExtentHeaderDisk>(bytes, 0);
  if (header.magic.get() != kExtentMagic) return "is no node of an extent tree";
  const unsigned own_depth = header.depth.get(), entries = header.entries.get(), max = header.max.get();
  if (depth >= 0 ? own_depth != static_cast<unsigned>(depth) : own_depth > kExtentDepthLimit)
    return "has the wrong depth for its place in the extent tree";
  if (entries > max || max > (bytes.size() - sizeof header) / kEntrySize || (own_depth > 0 && entries == 0))
    return "has an impossible number of extents";
  std::uint64_t from = range.first;  // nothing may begin before
  for (unsigned i = 0; i < entries; ++i) {
    const std::size_t at = sizeof header + i * kEntrySize;
    if (own_depth == 0) {
      const auto leaf = load<ExtentLeafDisk>(bytes, at);
      std::uint32_t length = leaf.length.get();
      const bool unwritten = length > kExtentWrittenLimit;
      if (unwritten) length -= kExtentWrittenLimit;
      const std::uint64_t logical = leaf.logical.get();
      if (length == 0 || logical < from || logical + length > range.end) return "has extents out of order";
      from = logical + length;
      PackedExtent extent;
      extent.logical = leaf.logical.get();
      extent.length = length;
      extent.physical = std::uint64_t{leaf.start_high.get()} << 32 | leaf.start_low.get();
      extent.unwritten = unwritten;
      append_extent(out.extents, 0, extent);
    } else {
      const auto index = load<ExtentIndexDisk>(bytes, at);
      const std::uint64_t logical = index.logical.get();
      if (logical < from || logical >= range.end) return "has extents out of order";
      if (!out.children.empty()) out.children.back().range.end = logical;
      TreeBlock child;
      child.block = std::uint64_t{index.leaf_high.get()} << 32 | index.leaf_low.get();
      child.range = {logical, range.end};
      child.level = static_cast<std::uint8_t>(own_depth - 1);
      out.children.push_back(child);
      from = logical + 1;
    }
  }
  return nullptr;
}

void parse_pointers(ByteView bytes, std::uint64_t span, LogicalRange range, TreeContent& out) {
  out.extents.clear();
  out.children.clear();
  for (std::size_t i = 0; i < bytes.size() / 4; ++i) {
    const std::uint64_t logical = range.first + i * span;
    if (logical >= range.end) return;
    const std::uint32_t block = load_le32(bytes.data() + i * 4);
    if (block == 0) continue;
    if (span == 1) {
      PackedExtent extent;
      extent.logical = static_cast<std::uint32_t>(logical);
      extent.length = 1;
      extent.physical = block;
      append_extent(out.extents, 0, extent);
    } else {
      TreeBlock child;
      child.block = block;
      child.range = {logical, std::min(logical + span, range.end)};
      out.children.push_back(child);
    }
  }
}

void BlockMap::fail(NodeIndex node, std::string what) {
  NodeRecord& record = state_.table.nodes[node];
  if (record.traits & kUnreadable) return;  // told once
  record.traits |= kUnreadable;
  record.extent_count = 0;
  state_.findings.add(record.inode, std::move(what));
}

void BlockMap::add(NodeIndex node, ByteView block) {
  NodeRecord& record = state_.table.nodes[node];
  record.first_extent = static_cast<std::uint32_t>(state_.table.extents.size());
  TreeBlock root;
  root.node = node;
  if (record.flags & kExtentsFlag) {
    if (const char* wrong = parse_extent_node(block, -1, root.range, content_)) {
      fail(node, fmt::format("its inode {}", wrong));
      return;
    }
    take(root, content_, content_.children.empty());
    return;
  }
  root.indirect = true;
  parse_pointers(block.first(kDirectPointers * 4), 1, root.range, content_);
  const std::uint64_t per_block = state_.handle.block_size() / 4;
  std::uint64_t first = kDirectPointers, span = per_block;
  for (unsigned level = 1; level <= 3 && first < root.range.end; ++level) {
    if (const std::uint32_t pointer = load_le32(block.data() + (kDirectPointers + level - 1) * 4);
        pointer != 0) {
      TreeBlock child;
      child.block = pointer;
      child.range = {first, std::min(first + span, root.range.end)};
      child.level = static_cast<std::uint8_t>(level);
      content_.children.push_back(child);
    }
    first += span;
    span *= per_block;
  }
  take(root, content_, content_.children.empty());
}

// in_inode: there is nothing but this node, its extents go to their final place at once.
void BlockMap::take(const TreeBlock& parent, TreeContent& content, bool in_inode) {
  for (const PackedExtent& extent : content.extents) {
    if (!state_.may_hold_file(extent.physical, extent.length)) {
      fail(parent.node, fmt::format("its blocks {} to {} lie where no file's can",
                                    std::uint64_t{extent.physical}, extent.physical + extent.length - 1));
      return;
    }
  }
  for (TreeBlock& child : content.children) {
    if (!state_.may_hold_file(child.block, 1)) {
      fail(parent.node, fmt::format("a block of its block map, {}, lies where none can", child.block));
      return;
    }
    child.node = parent.node;
    child.indirect = parent.indirect;
    next_.push_back(child);
  }
  if (in_inode) {
    auto& extents = state_.table.extents;
    extents.insert(extents.end(), content.extents.begin(), content.extents.end());
    state_.table.nodes[parent.node].extent_count = static_cast<std::uint32_t>(content.extents.size());
  } else {
    for (const PackedExtent& extent : content.extents) deep_.push_back({parent.node, extent});
  }
}

void BlockMap::read_block(const TreeBlock& tree, ByteView bytes, const std::string& error) {
  const NodeRecord& record = state_.table.nodes[tree.node];
  if (record.traits & kUnreadable) return;
  if (!error.empty()) {
    fail(tree.node, fmt::format("block {} of its block map cannot be read: {}", tree.block, error));
    return;
  }
  if (tree.indirect) {
    std::uint64_t span = 1;
    for (unsigned i = 1; i < tree.level; ++i) span *= bytes.size() / 4;
    parse_pointers(bytes, span, tree.range, content_);
    for (TreeBlock& child : content_.children) child.level = static_cast<std::uint8_t>(tree.level - 1);
  } else {
    if (const char* wrong = parse_extent_node(bytes, tree.level, tree.range, content_)) {
      fail(tree.node, fmt::format("block {} {}", tree.block, wrong));
      return;
    }
    const std::size_t tail =
        sizeof(ExtentHeaderDisk) + kEntrySize * load<ExtentHeaderDisk>(bytes, 0).max.get();
    if (state_.handle.has_checksums() &&
        (tail + 4 > bytes.size() ||
         crc32c(record.checksum_seed, bytes.first(tail)) != load_le32(bytes.data() + tail))) {
      fail(tree.node, fmt::format("block {} of its extent tree has a wrong checksum", tree.block));
      return;
    }
  }
  take(tree, content_, false);
}

void BlockMap::finish() {
  const std::uint32_t block_size = state_.handle.block_size();
  // Each round goes one level down, so there are at most six; a block serves once, so all rounds together
  // read no more than the device has.
  while (!next_.empty()) {
    pending_.swap(next_);
    next_.clear();
    std::ranges::sort(pending_, {}, [](const TreeBlock& tree) {
      return std::tuple(tree.block, tree.node, tree.range.first);
    });
    std::vector<Piece> pieces;
    for (std::size_t i = 0; i < pending_.size(); ++i) {
      const TreeBlock& tree = pending_[i];
      if (state_.table.nodes[tree.node].traits & kUnreadable) continue;
      if (!state_.claimed.insert(tree.block)) {
        fail(tree.node, fmt::format("block {} of its block map belongs to another place too", tree.block));
        continue;
      }
      pieces.push_back({state_.offset_of(tree.block), block_size, static_cast<std::uint32_t>(i)});
    }
    for_each_piece(state_.handle.device(), pieces, state_.options.readers, state_.options.stop,
                   [&](const Piece& piece, ByteView bytes, const std::string& error) {
                     read_block(pending_[piece.tag], bytes, error);
                   });
  }
  std::ranges::sort(deep_, {}, [](const Deep& deep) { return std::tuple(deep.node, deep.extent.logical); });
  auto& extents = state_.table.extents;
  for (std::size_t i = 0; i < deep_.size();) {
    const NodeIndex node = deep_[i].node;
    NodeRecord& record = state_.table.nodes[node];
    record.first_extent = static_cast<std::uint32_t>(extents.size());
    const std::size_t first = extents.size();
    for (; i < deep_.size() && deep_[i].node == node; ++i)
      if (!(record.traits & kUnreadable)) append_extent(extents, first, deep_[i].extent);
    record.extent_count = static_cast<std::uint32_t>(extents.size() - first);
  }
  deep_ = {};
  pending_ = {};
  next_ = {};
}

}  // namespace respaldo::fs::ext
