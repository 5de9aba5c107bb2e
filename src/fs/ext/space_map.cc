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

ExtentSet system_space(const ScanState& state) {
  BlockRanges ranges;
  for (const BlockRanges::Range& range : state.system.ranges())
    ranges.add(range.first, range.end - range.first);
  return to_bytes(ranges, state.handle.block_size());
}

ExtentSet file_space(const ScanState& state) {
  BlockRanges ranges;
  for (const PackedExtent& extent : state.table.extents) ranges.add(extent.physical, extent.length);
  state.claimed.for_each([&](std::uint64_t block) { ranges.add(block, 1); });
  return to_bytes(ranges, state.handle.block_size());
}

// Bitmaps and inode tables that lie in each other: a descriptor that is another one's copy, for example.
bool groups_overlap(const Handle& handle) {
  std::vector<BlockRanges::Range> places;
  const ext2_filsys fs = handle.fs();
  for (std::uint32_t group = 0; group < handle.group_count(); ++group) {
    const std::uint64_t blocks = ext2fs_block_bitmap_loc(fs, group), inodes = ext2fs_inode_bitmap_loc(fs, group),
                        table = ext2fs_inode_table_loc(fs, group);
    places.push_back({blocks, blocks + 1});
    places.push_back({inodes, inodes + 1});
    places.push_back({table, table + handle.inode_table_blocks()});
  }
  std::ranges::sort(places, {}, &BlockRanges::Range::first);
  for (std::size_t i = 1; i < places.size(); ++i)
    if (places[i].first < places[i - 1].end) return true;
  return false;
}

class FreeSpace {
 public:
  FreeSpace(const Handle& handle, const ExtOptions& options, FindingList& findings)
      : handle_(handle), options_(options), findings_(findings) {}

  // A bitmap must have as many bits free as its descriptor tells. Not so before recovery, which brings both to
  // the same moment.
  void require_counts() { counts_ = true; }
  // What bitmaps on the disk call free, without groups that have none yet. After run().
  ExtentSet by_bitmaps_alone() { return to_bytes(read_, handle_.block_size()); }

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
    std::uint64_t count = 0;
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
      if (counts_) read_.add(begin, std::min(first + stop * ratio, end) - begin);
      count += std::min(stop, bits) - bit;
      bit = stop;
    }
    if (const std::uint64_t told = ext2fs_bg_free_blocks_count(handle_.fs(), group); counts_ && count != told)
      findings_.add(0, fmt::format("group {} has {} free clusters by its bitmap and {} by its descriptor", group,
                                   count, told));
  }

  const Handle& handle_;
  const ExtOptions& options_;
  FindingList& findings_;
  bool counts_ = false;
  BlockRanges ranges_, read_;
};

}  // namespace

ExtentSet free_by_bitmaps(const Handle& handle, const ExtOptions& options, FindingList& findings) {
  return FreeSpace(handle, options, findings).run();
}

ExtentSet sound_free_space(ScanState& state) {
  FindingList& findings = state.findings;
  if (findings.tells_damage()) return {};
  FreeSpace space(state.handle, state.options, findings);
  space.require_counts();
  const ExtentSet free = space.run();
  const ExtentSet system = system_space(state), files = file_space(state);
  const auto must_be_none = [&](const ExtentSet& both, std::string_view what) {
    if (!both.empty())
      findings.add(0, fmt::format("block {} is free by the bitmaps, and {}",
                                  both.extents().front().offset / state.handle.block_size(), what));
  };
  must_be_none(system.intersected(space.by_bitmaps_alone()), "belongs to the filesystem itself");
  must_be_none(files.intersected(free), "a file claims it");
  if (groups_overlap(state.handle)) findings.add(0, "bitmaps or inode tables of two groups lie in one place");
  if (findings.tells_damage()) return {};
  return free.minus(system);
}

}  // namespace respaldo::fs::ext
