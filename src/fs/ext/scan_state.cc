#include "fs/ext/scan_state.h"

namespace respaldo::fs::ext {

void BlockRanges::build() {
  std::ranges::sort(ranges_, {}, &Range::first);
  std::size_t kept = 0;
  for (const Range& range : ranges_) {
    if (range.first == range.end) continue;
    if (kept > 0 && range.first <= ranges_[kept - 1].end)
      ranges_[kept - 1].end = std::max(ranges_[kept - 1].end, range.end);
    else
      ranges_[kept++] = range;
  }
  ranges_.resize(kept);
  ranges_.shrink_to_fit();
}

bool BlockRanges::intersects(std::uint64_t block, std::uint64_t count) const {
  const auto after = std::ranges::lower_bound(ranges_, block + count, {}, &Range::first);
  return after != ranges_.begin() && std::prev(after)->end > block;
}

BlockRanges system_blocks(const Handle& handle) {
  BlockRanges ranges;
  const auto add = [&](std::uint64_t block, std::uint64_t count) {
    if (block < handle.block_count()) ranges.add(block, std::min(count, handle.block_count() - block));
  };
  const ext2_filsys fs = handle.fs();
  for (std::uint32_t group = 0; group < handle.group_count(); ++group) {
    blk64_t super = 0, old_descriptors = 0, new_descriptors = 0;
    blk_t used = 0;
    ext2fs_super_and_bgd_loc2(fs, group, &super, &old_descriptors, &new_descriptors, &used);
    if (super != 0 || group == 0) add(super, 1);
    if (old_descriptors != 0) {
      const bool meta_bg = ext2fs_has_feature_meta_bg(fs->super);
      const std::uint64_t count = meta_bg
                                      ? std::min<std::uint64_t>(fs->super->s_first_meta_bg, fs->desc_blocks)
                                      : std::uint64_t{fs->desc_blocks} + fs->super->s_reserved_gdt_blocks;
      add(old_descriptors, count);
    }
    if (new_descriptors != 0) add(new_descriptors, 1);
    add(ext2fs_block_bitmap_loc(fs, group), 1);
    add(ext2fs_inode_bitmap_loc(fs, group), 1);
    add(ext2fs_inode_table_loc(fs, group), handle.inode_table_blocks());
  }
  ranges.build();
  return ranges;
}

}  // namespace respaldo::fs::ext
