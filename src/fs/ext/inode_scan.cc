#include "fs/ext/inode_scan.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "base/error.h"
#include "fs/ext/read_ahead.h"
#include "fs/ext/xattr_format.h"

namespace respaldo::fs::ext {

namespace {

constexpr std::uint32_t kNanosecondsLimit = 1'000'000'000;
constexpr std::uint32_t kTablePiece = 1U << 20;

PackedTime make_time(Le32 seconds, std::uint32_t extra) {
  const auto low = static_cast<std::int32_t>(seconds.get());
  const std::int64_t epoch = std::int64_t{extra & 3} << 32;
  return {low + epoch, std::min(extra >> 2, kNanosecondsLimit - 1)};
}

bool checksum_is_right(const Handle& handle, std::uint32_t number, ByteView bytes) {
  if (!handle.has_checksums()) return true;
  // libext2fs puts the checksum fields aside while it counts, and back: it needs bytes of its own.
  alignas(8) std::uint8_t copy[EXT2_MAX_BLOCK_SIZE];
  std::memcpy(copy, bytes.data(), bytes.size());
  return ext2fs_inode_csum_verify(handle.fs(), number, reinterpret_cast<ext2_inode_large*>(copy)) != 0;
}

InodeDisk load_disk(ByteView bytes) {
  InodeDisk disk{};
  std::memcpy(&disk, bytes.data(), std::min(bytes.size(), sizeof disk));
  if (bytes.size() <= kOldInodeSize) disk.extra_size.set(0);
  return disk;
}

class InodeScan {
 public:
  explicit InodeScan(ScanState& state) : state_(state), handle_(state.handle), map_(state) {}

  void run() {
    std::vector<Piece> pieces;
    const std::uint32_t size = handle_.inode_size(), per_piece = kTablePiece / size;
    for (std::uint32_t group = 0; group < handle_.group_count(); ++group) {
      const std::uint64_t table = handle_.inode_table(group);
      if (table == 0) {
        state_.findings.add(0, fmt::format("the inode table of group {} lies where none can", group));
        continue;
      }
      const std::uint32_t used = handle_.inodes_used(group);
      for (std::uint32_t first = 0; first < used; first += per_piece) {
        const std::uint32_t count = std::min(per_piece, used - first);
        pieces.push_back({state_.offset_of(table) + std::uint64_t{first} * size, count * size,
                          group * handle_.inodes_per_group() + first});
      }
    }
    std::ranges::sort(pieces, {}, &Piece::offset);  // flexible groups lie in any order
    for_each_piece(handle_.device(), pieces, state_.options.readers, state_.options.stop,
                   [&](const Piece& piece, ByteView bytes, const std::string& error) {
                     if (!error.empty()) {
                       state_.findings.add(0, fmt::format("inodes {} to {} cannot be read: {}", piece.tag + 1,
                                                          piece.tag + piece.length / size, error));
                       return;
                     }
                     for (std::uint32_t i = 0; i < piece.length / size; ++i)
                       take(piece.tag + i + 1, bytes.subspan(std::size_t{i} * size, size));
                   });
    order_nodes();
    map_blocks();
    read_links();
    read_xattr_blocks();
  }

 private:
  struct Mapped {
    std::uint32_t inode;
    std::uint8_t block[60];
  };

  void take(std::uint32_t number, ByteView bytes) {
    const InodeDisk disk = load_disk(bytes);
    if (disk.links.get() == 0 || disk.mode.get() == 0) return;
    const bool reserved = number < handle_.first_inode() && number != kRootInode;
    if (reserved && (number == EXT2_BAD_INO || number == EXT2_RESIZE_INO))
      return;  // what they list is the system's
    if (!checksum_is_right(handle_, number, bytes)) {
      state_.findings.add(number, "the inode has a wrong checksum");
      return;
    }
    if (handle_.inode_size() > kOldInodeSize &&
        (disk.extra_size.get() > handle_.inode_size() - kOldInodeSize || disk.extra_size.get() % 4 != 0)) {
      state_.findings.add(number, "the inode claims to be larger than it is");
      return;
    }
    NodeRecord node;
    node.inode = number;
    node.mode = disk.mode.get();
    node.uid = disk.uid.get() | std::uint32_t{disk.uid_high.get()} << 16;
    node.gid = disk.gid.get() | std::uint32_t{disk.gid_high.get()} << 16;
    node.links = disk.links.get();
    node.flags = disk.flags.get();
    if (reserved || (node.flags & kEaInodeFlag) != 0) node.traits |= kHidden;
    node.size = disk.size.get();
    if (S_ISREG(node.mode) || S_ISDIR(node.mode)) node.size |= std::uint64_t{disk.size_high.get()} << 32;
    const std::size_t extra = disk.extra_size.get() + kOldInodeSize;
    const auto reached = [&](const Le32& field) {
      const auto end =
          static_cast<std::size_t>(field.bytes + sizeof field - reinterpret_cast<const std::uint8_t*>(&disk));
      return end <= extra && handle_.inode_size() > kOldInodeSize ? field.get() : 0;
    };
    node.atime = make_time(disk.atime, reached(disk.atime_extra));
    node.mtime = make_time(disk.mtime, reached(disk.mtime_extra));
    node.ctime = make_time(disk.ctime, reached(disk.ctime_extra));
    if (handle_.has_checksums()) {
      std::uint8_t words[8];
      store_le32(words, number);
      store_le32(words + 4, disk.generation.get());
      node.checksum_seed = crc32c(handle_.seed(), words);
    }
    take_xattrs(node, disk, bytes);
    take_content(node, disk);
    state_.table.nodes.push_back(node);
  }

  void unreadable(NodeRecord& node, std::string what) {
    node.traits |= kUnreadable;
    state_.findings.add(node.inode, std::move(what));
  }

  void encrypted(NodeRecord& node, std::string what) {
    node.traits |= kUnreadable;
    state_.findings.add_sound(node.inode, std::move(what));
  }

  void take_content(NodeRecord& node, const InodeDisk& disk) {
    const ByteView block(disk.block, sizeof disk.block);
    switch (node.mode & S_IFMT) {
      case S_IFCHR:
      case S_IFBLK: {
        const std::uint32_t old = load_le32(disk.block), device = load_le32(disk.block + 4);
        node.payload = old != 0 ? ::makedev(old >> 8 & 0xff, old & 0xff)
                                : ::makedev(device >> 8 & 0xfff, (device & 0xff) | (device >> 12 & 0xfff00));
        return;
      }
      case S_IFIFO:
      case S_IFSOCK:
        return;
      case S_IFLNK:
        if ((node.flags & kEncryptFlag) != 0) {
          encrypted(node, "the target of the symbolic link is encrypted");
          return;
        }
        if ((node.flags & kInlineDataFlag) != 0) break;
        if ((node.flags & kExtentsFlag) == 0 && node.size < sizeof disk.block) {
          state_.table.set_payload(node, as_text(block.first(node.size)));
          return;
        }
        if (node.size == 0 || node.size > handle_.block_size()) {
          unreadable(node, "the symbolic link has an impossible length");
          return;
        }
        break;
      case S_IFREG:
        if ((node.flags & kEncryptFlag) != 0) {
          encrypted(node, "the file is encrypted: only the image view has it");
          return;
        }
        if ((node.flags & kCompressedFlag) != 0) {
          unreadable(node,
                     "the file is compressed in a way that Linux never knew: only the image view has it");
          return;
        }
        if (node.size > std::uint64_t{1} << 32 << (handle_.super().s_log_block_size + 10)) {
          unreadable(node, fmt::format("the file claims {} bytes, more than it can have", node.size));
          return;
        }
        break;
      case S_IFDIR:
        break;
      default:
        unreadable(node, fmt::format("the inode is of an unknown kind (mode {:o})", node.mode));
        return;
    }
    if ((node.flags & kInlineDataFlag) != 0) {
      node.traits |= kInline;
      if (S_ISLNK(node.mode) || S_ISREG(node.mode)) {
        std::string content(as_text(block));
        content.append(inline_rest_);
        if (content.size() > node.size) content.resize(node.size);
        if (node.size > handle_.inode_size()) {
          unreadable(node, fmt::format("its data lies in its inode, and claims {} bytes", node.size));
          return;
        }
        if (S_ISLNK(node.mode) && content.size() != node.size) {
          unreadable(node, "the symbolic link is shorter than it claims");
          return;
        }
        state_.table.set_payload(node, content);
      } else {
        state_.table.set_payload(node, std::string(as_text(block)) + inline_rest_);
      }
      return;
    }
    Mapped mapped{.inode = node.inode, .block = {}};
    std::memcpy(mapped.block, disk.block, sizeof mapped.block);
    mapped_.push_back(mapped);
  }

  // Those in the inode's own bytes. The rest of inline data comes by the way.
  void take_xattrs(NodeRecord& node, const InodeDisk& disk, ByteView bytes) {
    inline_rest_.clear();
    std::uint64_t block = disk.file_acl.get();
    if (ext2fs_has_feature_64bit(handle_.fs()->super) != 0)
      block |= std::uint64_t{disk.file_acl_high.get()} << 32;
    if (block != 0) {
      if (state_.may_hold_file(block, 1)) {
        xattr_blocks_.push_back({block, node.inode});
      } else {
        node.traits |= kLostXattrs;
        state_.findings.add(node.inode, "its block of extended attributes lies where none can");
      }
    }
    const std::size_t begin = kOldInodeSize + disk.extra_size.get();
    if (handle_.inode_size() <= kOldInodeSize || begin + 8 > bytes.size() ||
        load_le32(bytes.data() + begin) != kXattrMagic)
      return;
    std::string encoded;
    const ByteView area = bytes.subspan(begin + 4);
    const char* wrong = parse_xattrs(area, 0, 0, [&](const StoredXattr& xattr) {
      if (xattr.index == kXattrSystem && xattr.name == "data") inline_rest_ = xattr.value;
      XattrSets::encode(xattr, encoded);
    });
    if (wrong != nullptr) {
      node.traits |= kLostXattrs;
      state_.findings.add(node.inode, fmt::format("the inode {}", wrong));
    }
    node.own_xattrs = state_.table.xattrs.intern(encoded);
  }

  // Everything that refers to nodes does so by inode until they have their places.
  void order_nodes() {
    auto& nodes = state_.table.nodes;
    if (!std::ranges::is_sorted(nodes, {}, &NodeRecord::inode))
      std::ranges::sort(nodes, {}, &NodeRecord::inode);
    // Two groups that claim one table give the same inodes twice; they have different numbers.
  }

  void map_blocks() {
    for (const Mapped& mapped : mapped_) map_.add(state_.table.find(mapped.inode), mapped.block);
    mapped_ = {};
    map_.finish();
  }

  // Targets of symbolic links that do not fit into their inodes.
  void read_links() {
    std::vector<Piece> pieces;
    for (NodeIndex i = 0; i < state_.table.nodes.size(); ++i) {
      NodeRecord& node = state_.table.nodes[i];
      if (!S_ISLNK(node.mode) || node.payload_length > 0 || (node.traits & kUnreadable) != 0) continue;
      const PackedExtent extent =
          node.extent_count > 0 ? state_.table.extents[node.first_extent] : PackedExtent{};
      if (extent.length == 0 || extent.logical != 0 || extent.unwritten != 0) {
        if (node.size > 0) unreadable(node, "the symbolic link has no block");
        continue;
      }
      pieces.push_back({state_.offset_of(extent.physical), static_cast<std::uint32_t>(node.size), i});
    }
    std::ranges::sort(pieces, {}, &Piece::offset);
    for_each_piece(handle_.device(), pieces, state_.options.readers, state_.options.stop,
                   [&](const Piece& piece, ByteView bytes, const std::string& error) {
                     NodeRecord& node = state_.table.nodes[piece.tag];
                     if (error.empty()) {
                       state_.table.set_payload(node, as_text(bytes));
                     } else {
                       unreadable(node,
                                  fmt::format("the target of the symbolic link cannot be read: {}", error));
                     }
                   });
  }

  void read_xattr_blocks() {
    std::ranges::sort(xattr_blocks_);
    std::vector<Piece> pieces;
    for (std::size_t i = 0; i < xattr_blocks_.size(); ++i)
      if (i == 0 || xattr_blocks_[i].first != xattr_blocks_[i - 1].first)
        pieces.push_back(
            {state_.offset_of(xattr_blocks_[i].first), handle_.block_size(), static_cast<std::uint32_t>(i)});
    for_each_piece(handle_.device(), pieces, state_.options.readers, state_.options.stop,
                   [&](const Piece& piece, ByteView bytes, const std::string& error) {
                     take_xattr_block(piece.tag, bytes, error);
                   });
    for (const auto& [block, inode] : xattr_blocks_) state_.claimed.insert(block);
    xattr_blocks_ = {};
  }

  void take_xattr_block(std::size_t first, ByteView bytes, const std::string& error) {
    const std::uint64_t block = xattr_blocks_[first].first;
    std::string encoded, wrong = error.empty() ? "" : fmt::format("cannot be read: {}", error);
    if (wrong.empty() && load_le32(bytes.data()) != kXattrMagic) wrong = "is no block of extended attributes";
    if (wrong.empty() && handle_.has_checksums() && !block_checksum_is_right(block, bytes))
      wrong = "has a wrong checksum";
    if (wrong.empty())
      if (const char* what = parse_xattrs(bytes, kXattrBlockHeaderSize, 0, [&](const StoredXattr& xattr) {
            XattrSets::encode(xattr, encoded);
          }))
        wrong = what;
    const std::uint32_t set = state_.table.xattrs.intern(encoded);
    for (std::size_t i = first; i < xattr_blocks_.size() && xattr_blocks_[i].first == block; ++i) {
      const NodeIndex index = state_.table.find(xattr_blocks_[i].second);
      if (index == kNoNode) continue;
      NodeRecord& node = state_.table.nodes[index];
      node.block_xattrs = set;
      if (wrong.empty()) continue;
      node.traits |= kLostXattrs;
      state_.findings.add(node.inode, fmt::format("block {} of its extended attributes {}", block, wrong));
    }
  }

  bool block_checksum_is_right(std::uint64_t block, ByteView bytes) const {
    constexpr std::size_t kChecksumAt = 16;
    std::uint8_t number[8];
    store_le64(number, block);
    std::uint32_t sum = crc32c(handle_.seed(), number);
    const std::uint8_t none[4] = {};
    sum = crc32c(sum, bytes.first(kChecksumAt));
    sum = crc32c(sum, none);
    sum = crc32c(sum, bytes.subspan(kChecksumAt + 4));
    return sum == load_le32(bytes.data() + kChecksumAt);
  }

  ScanState& state_;
  const Handle& handle_;
  BlockMap map_;
  std::vector<Mapped> mapped_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> xattr_blocks_;  // block, inode
  std::string inline_rest_;                                            // of the inode at hand
};

}  // namespace

void scan_inodes(ScanState& state) { InodeScan(state).run(); }

std::optional<RawInode> read_inode(const Handle& handle, std::uint32_t number) {
  if (number == 0 || number > handle.inode_count()) return std::nullopt;
  const std::uint32_t group = (number - 1) / handle.inodes_per_group();
  const std::uint64_t table = handle.inode_table(group);
  if (table == 0) return std::nullopt;
  RawInode inode{{}, Bytes(handle.inode_size())};
  const std::uint64_t within = (number - 1) % handle.inodes_per_group();
  handle.device().read_at(table * handle.block_size() + within * handle.inode_size(), inode.bytes);
  if (!checksum_is_right(handle, number, inode.bytes)) return std::nullopt;
  inode.disk = load_disk(inode.bytes);
  return inode;
}

}  // namespace respaldo::fs::ext
