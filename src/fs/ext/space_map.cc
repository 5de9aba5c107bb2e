#include "fs/ext/space_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "fs/ext/read_ahead.h"

namespace respaldo::fs::ext {

namespace {

// Sorted ranges are joined into a set in one go; adding them one by one to a set would be slow.
ExtentSet to_bytes(BlockRanges& ranges, std::uint32_t block_size) {
  ranges.build();
  ExtentSet set;
  for (const BlockRanges::Range& range : ranges.ranges())
    set.add({range.first * block_size, (range.end - range.first) * block_size});
  return set;
}

class FreeSpace {
 public:
  FreeSpace(const Handle& handle, const ExtOptions& options, FindingList& findings)
      : handle_(handle), options_(options), findings_(findings) {}

  ExtentSet run() {
    std::vector<Piece> pieces;
    const ext2_filsys fs = handle_.fs();
    for (std::uint32_t group = 0; group < handle_.group_count(); ++group) {
      if (ext2fs_has_group_desc_csum(fs) != 0) {
        if (!handle_.group_is_sound(group)) {
          findings_.add(0, fmt::format("the descriptor of group {} has a wrong checksum", group));
          continue;
        }
        if (ext2fs_bg_flags_test(fs, group, EXT2_BG_BLOCK_UNINIT) != 0) {
          const std::uint64_t first = handle_.group_first_block(group);
          ranges_.add(first, handle_.group_end_block(group) - first);  // its own blocks are claimed elsewhere
          continue;
        }
      }
      const std::uint64_t block = ext2fs_block_bitmap_loc(fs, group);
      if (!handle_.is_data_range(block, 1)) {
        findings_.add(0, fmt::format("the block bitmap of group {} lies where none can", group));
        continue;
      }
      pieces.push_back({block * handle_.block_size(), handle_.block_size(), group});
    }
    std::ranges::sort(pieces, {}, &Piece::offset);
    for_each_piece(
        handle_.device(), pieces, options_.readers, options_.stop,
        [&](const Piece& piece, ByteView bytes, const std::string& error) { take(piece.tag, bytes, error); });
    return to_bytes(ranges_, handle_.block_size());
  }

 private:
  void take(std::uint32_t group, ByteView bytes, const std::string& error) {
    if (!error.empty()) {
      findings_.add(0, fmt::format("the block bitmap of group {} cannot be read: {}", group, error));
      return;
    }
    const std::uint32_t clusters = handle_.fs()->super->s_clusters_per_group;
    if (handle_.has_checksums() &&
        ext2fs_block_bitmap_csum_verify(handle_.fs(), group,
                                        reinterpret_cast<char*>(const_cast<std::uint8_t*>(bytes.data())),
                                        static_cast<int>(clusters / 8)) == 0) {
      findings_.add(0, fmt::format("the block bitmap of group {} has a wrong checksum", group));
      return;
    }
    const std::uint64_t first = handle_.group_first_block(group), end = handle_.group_end_block(group);
    const std::uint32_t ratio = handle_.blocks_per_cluster();
    const std::uint64_t bits = std::min<std::uint64_t>((end - first + ratio - 1) / ratio, bytes.size() * 8);
    for (std::uint64_t bit = 0; bit < bits;) {
      if (bytes[bit / 8] == 0xff && bit % 8 == 0) {
        bit += 8;
        continue;
      }
      if ((bytes[bit / 8] >> (bit % 8) & 1) != 0) {
        ++bit;
        continue;
      }
      std::uint64_t stop = bit + 1;
      while (stop < bits &&
             ((stop % 8 == 0 && bytes[stop / 8] == 0) || (bytes[stop / 8] >> (stop % 8) & 1) == 0))
        stop += stop % 8 == 0 && bytes[stop / 8] == 0 ? 8 : 1;
      const std::uint64_t begin = first + bit * ratio;
      ranges_.add(begin, std::min(first + stop * ratio, end) - begin);
      bit = stop;
    }
  }

  const Handle& handle_;
  const ExtOptions& options_;
  FindingList& findings_;
  BlockRanges ranges_;
};

}  // namespace

ExtentSet free_by_bitmaps(const Handle& handle, const ExtOptions& options, FindingList& findings) {
  return FreeSpace(handle, options, findings).run();
}

ExtentSet claimed_space(const ScanState& state) {
  BlockRanges ranges;
  for (const BlockRanges::Range& range : state.system.ranges())
    ranges.add(range.first, range.end - range.first);
  for (const PackedExtent& extent : state.table.extents) ranges.add(extent.physical, extent.length);
  state.claimed.for_each([&](std::uint64_t block) { ranges.add(block, 1); });
  return to_bytes(ranges, state.handle.block_size());
}

}  // namespace respaldo::fs::ext
