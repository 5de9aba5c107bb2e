#include "fs/ext/directory_scan.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/printable.h"
#include "fs/ext/read_ahead.h"

namespace respaldo::fs::ext {

namespace {

constexpr std::size_t kInlineHead = 4;    // the parent's inode number
constexpr std::size_t kInlineFirst = 60;  // then the xattr's part begins

std::size_t record_length(const DirentDisk& entry, std::size_t block_size) {
  const std::size_t raw = entry.record_length.get();
  if (block_size < 65536) return raw;
  if (raw == 0 || raw == 65535) return 65536;
  return (raw & 65532) | (raw & 3) << 16;
}

class DirectoryScan {
 public:
  explicit DirectoryScan(ScanState& state)
      : state_(state),
        table_(state.table),
        has_type_(ext2fs_has_feature_filetype(state.handle.fs()->super) != 0) {}

  DirectoryFacts run() {
    std::vector<Piece> pieces;
    for (NodeIndex i = 0; i < table_.nodes.size(); ++i)
      if (S_ISDIR(table_.nodes[i].mode)) add_directory(i, pieces);
    std::ranges::sort(pieces, {}, &Piece::offset);
    for_each_piece(state_.handle.device(), pieces, state_.options.readers, state_.options.stop,
                   [&](const Piece& piece, ByteView bytes, const std::string& error) {
                     take_block(piece, bytes, error);
                   });
    sort_entries();
    reach();
    return facts_;
  }

 private:
  void add_directory(NodeIndex index, std::vector<Piece>& pieces) {
    NodeRecord& node = table_.nodes[index];
    if ((node.flags & kEncryptFlag) != 0) {
      ++facts_.encrypted;
      state_.findings.add_sound(
          node.inode, "the directory is encrypted: its names cannot be told; the image view has it");
      return;
    }
    if ((node.traits & kInline) != 0) {
      add_inline(index);
      return;
    }
    const std::uint32_t block_size = state_.handle.block_size();
    const std::uint64_t blocks = node.size / block_size;
    for (std::uint32_t i = 0; i < node.extent_count; ++i) {
      const PackedExtent& extent = table_.extents[node.first_extent + i];
      if (extent.unwritten != 0) continue;
      for (std::uint32_t k = 0; k < extent.length && extent.logical + std::uint64_t{k} < blocks; ++k) {
        if (!state_.claimed.insert(extent.physical + k)) {
          state_.findings.add(
              node.inode,
              fmt::format("block {} of the directory belongs to another place too", extent.physical + k));
          continue;
        }
        pieces.push_back(
            {state_.offset_of(extent.physical + k), block_size, static_cast<std::uint32_t>(blocks_.size())});
        blocks_.push_back({index, extent.logical + k});
      }
    }
  }

  void add_inline(NodeIndex index) {
    const std::string content(table_.payload_of(table_.nodes[index]));
    const ByteView bytes = as_bytes(content);
    for (const ByteView part :
         {bytes.first(std::min(bytes.size(), kInlineFirst)).subspan(std::min(bytes.size(), kInlineHead)),
          bytes.subspan(std::min(bytes.size(), kInlineFirst))})
      if (!part.empty()) take_names(index, part);
  }

  void take_names(NodeIndex index, ByteView bytes) {
    const char* wrong = parse_directory_block(
        bytes, has_type_, [&](std::uint32_t inode, std::string_view name) { add_entry(index, inode, name); });
    if (wrong != nullptr)
      state_.findings.add(table_.nodes[index].inode, fmt::format("a block of the directory {}", wrong));
  }

  void take_block(const Piece& piece, ByteView bytes, const std::string& error) {
    const auto [index, logical] = blocks_[piece.tag];
    const NodeRecord& node = table_.nodes[index];
    const std::uint64_t block = piece.offset / state_.handle.block_size();
    if (!error.empty()) {
      state_.findings.add(node.inode,
                          fmt::format("block {} of the directory cannot be read: {}", block, error));
      return;
    }
    if (state_.handle.has_checksums() && !checksum_is_right(node, logical, bytes)) {
      state_.findings.add(node.inode, fmt::format("block {} of the directory has a wrong checksum", block));
      return;
    }
    take_names(index, bytes);
  }

  // Blocks of a hashed directory's index hold no names but "." and "..", and have their checksum elsewhere.
  bool checksum_is_right(const NodeRecord& node, std::uint32_t logical, ByteView bytes) const {
    if ((node.flags & kIndexFlag) != 0) {
      DirentDisk first;
      std::memcpy(&first, bytes.data(), sizeof first);
      const bool only_index = first.inode.get() == 0 && record_length(first, bytes.size()) == bytes.size();
      if (logical == 0 || only_index) return true;
    }
    const std::size_t tail = bytes.size() - kDirentTailSize;
    return bytes[tail + 7] == kDirentTailType &&
           crc32c(node.checksum_seed, bytes.first(tail)) == load_le32(bytes.data() + tail + 8);
  }

  void add_entry(NodeIndex directory, std::uint32_t inode, std::string_view name) {
    const NodeIndex node = table_.find(inode);
    if (node == kNoNode || (table_.nodes[node].traits & kHidden) != 0) {
      state_.findings.add(table_.nodes[directory].inode,
                          fmt::format("\"{}\" leads to inode {}, which is not in use or not to be trusted",
                                      printable(name), inode));
      return;
    }
    EntryRecord entry;
    entry.directory = directory;
    entry.node = node;
    entry.name = table_.names.size() & ((std::uint64_t{1} << 48) - 1);
    entry.name_length = name.size() & 0xffff;
    table_.names.insert(table_.names.end(), name.begin(), name.end());
    table_.entries.push_back(entry);
  }

  void sort_entries() {
    std::ranges::sort(table_.entries, [&](const EntryRecord& a, const EntryRecord& b) {
      if (a.directory != b.directory) return a.directory < b.directory;
      return table_.name_of(a) < table_.name_of(b);
    });
    for (std::size_t i = 1; i < table_.entries.size(); ++i) {
      EntryRecord& entry = table_.entries[i];
      const EntryRecord& before = table_.entries[i - 1];
      if (entry.directory != before.directory || table_.name_of(entry) != table_.name_of(before)) continue;
      state_.findings.add(
          table_.nodes[entry.directory].inode,
          fmt::format("the directory has the name \"{}\" twice", printable(table_.name_of(entry))));
      entry.node = kNoNode;
    }
    set_bounds();
  }

  void set_bounds() {
    for (NodeRecord& node : table_.nodes) node.first_entry = node.entry_count = 0;
    for (std::size_t i = 0; i < table_.entries.size(); ++i) {
      NodeRecord& node = table_.nodes[table_.entries[i].directory];
      if (node.entry_count++ == 0) node.first_entry = static_cast<std::uint32_t>(i);
    }
  }

  // A directory has one name: a second one would be a hard link or a cycle, which no kernel makes.
  void reach() {
    const NodeIndex root = table_.find(kRootInode);
    if (root != kNoNode && S_ISDIR(table_.nodes[root].mode)) {
      std::vector<NodeIndex> queue{root};
      table_.nodes[root].traits |= kNamed;
      for (std::size_t next = 0; next < queue.size(); ++next) {
        const NodeRecord directory = table_.nodes[queue[next]];
        for (std::uint32_t i = 0; i < directory.entry_count; ++i) {
          EntryRecord& entry = table_.entries[directory.first_entry + i];
          if (entry.node == kNoNode) continue;
          NodeRecord& node = table_.nodes[entry.node];
          if (S_ISDIR(node.mode)) {
            if ((node.traits & kNamed) != 0) {
              state_.findings.add(directory.inode, fmt::format("\"{}\" is a second name of a directory",
                                                               printable(table_.name_of(entry))));
              entry.node = kNoNode;
              continue;
            }
            queue.push_back(entry.node);
          }
          node.traits |= kNamed;
        }
      }
    }
    std::erase_if(table_.entries, [&](const EntryRecord& entry) {
      return entry.node == kNoNode || (table_.nodes[entry.directory].traits & kNamed) == 0;
    });
    set_bounds();
    for (std::size_t i = 0; i < table_.entries.size(); ++i) {
      NodeRecord& node = table_.nodes[table_.entries[i].node];
      if (node.name == kNone) node.name = static_cast<std::uint32_t>(i);
    }
  }

  struct Block {
    NodeIndex node;
    std::uint32_t logical;
  };
  ScanState& state_;
  NodeTable& table_;
  const bool has_type_;
  std::vector<Block> blocks_;
  DirectoryFacts facts_;
};

}  // namespace

const char* parse_directory_block(ByteView bytes, bool has_type,
                                  const std::function<void(std::uint32_t, std::string_view)>& take) {
  for (std::size_t at = 0; at < bytes.size();) {
    DirentDisk entry;
    if (bytes.size() - at < sizeof entry) return "ends in the middle of an entry";
    std::memcpy(&entry, bytes.data() + at, sizeof entry);
    const std::size_t length = record_length(entry, bytes.size());
    const std::size_t name_length =
        has_type ? entry.name_length : entry.name_length | std::size_t{entry.file_type} << 8;
    if (length < sizeof entry || length % 4 != 0 || length > bytes.size() - at)
      return "has an entry of impossible length";
    if (entry.inode.get() != 0) {
      if (name_length > length - sizeof entry || name_length > 255) return "has a name longer than its entry";
      const std::string_view name = as_text(bytes.subspan(at + sizeof entry, name_length));
      if (name != "." && name != "..") {
        if (name.empty() || name.find('/') != name.npos || name.find('\0') != name.npos)
          return "has a name that no file can have";
        take(entry.inode.get(), name);
      }
    }
    at += length;
  }
  return nullptr;
}

DirectoryFacts scan_directories(ScanState& state) { return DirectoryScan(state).run(); }

}  // namespace respaldo::fs::ext
