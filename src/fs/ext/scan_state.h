// What the parts of a walk share while the filesystem is read.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/ext/ext_reader.h"
#include "fs/ext/handle.h"
#include "fs/ext/node_table.h"

namespace respaldo::fs::ext {

// Findings up to a limit; the rest is counted.
class FindingList {
 public:
  explicit FindingList(std::size_t limit) : limit_(limit) {}
  void add(std::uint32_t inode, std::string what) {
    ++damage_;
    add_sound(inode, std::move(what));
  }
  // Of what cannot be shown though nothing is wrong with it.
  void add_sound(std::uint32_t inode, std::string what) {
    ++count_;
    if (kept_.size() < limit_) kept_.push_back({inode, {}, std::move(what)});
  }
  std::vector<Finding>& kept() { return kept_; }
  const std::vector<Finding>& kept() const { return kept_; }
  std::uint64_t count() const { return count_; }
  bool tells_damage() const { return damage_ > 0; }

 private:
  std::size_t limit_;
  std::uint64_t count_ = 0, damage_ = 0;
  std::vector<Finding> kept_;
};

// A set of block numbers: pages of bits, memory by what is touched.
class BlockSet {
 public:
  // False when it was there already.
  bool insert(std::uint64_t block) {
    auto& page = pages_[block / kBits];
    if (page.empty()) page.resize(kBits / 64);
    std::uint64_t& word = page[block % kBits / 64];
    const std::uint64_t bit = std::uint64_t{1} << (block % 64);
    const bool fresh = (word & bit) == 0;
    word |= bit;
    return fresh;
  }
  // Calls f for each block, in no order.
  template <class F>
  void for_each(F f) const {
    for (const auto& [page, words] : pages_)
      for (std::size_t i = 0; i < words.size(); ++i)
        for (std::uint64_t left = words[i]; left != 0; left &= left - 1)
          f(page * kBits + i * 64 + static_cast<unsigned>(std::countr_zero(left)));
  }

 private:
  static constexpr std::uint64_t kBits = 4096;
  std::unordered_map<std::uint64_t, std::vector<std::uint64_t>> pages_;
};

// Sorted, disjoint ranges of blocks, built once.
class BlockRanges {
 public:
  void add(std::uint64_t block, std::uint64_t count) { ranges_.push_back({block, block + count}); }
  void build();
  bool intersects(std::uint64_t block, std::uint64_t count) const;
  struct Range {
    std::uint64_t first, end;
  };
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;
};

// Where the filesystem's own fixed parts lie: superblocks, descriptors, bitmaps, inode tables. No file may.
BlockRanges system_blocks(const Handle& handle);

struct ScanState {
  ScanState(const Handle& h, const ExtOptions& o)
      : handle(h), options(o), findings(o.finding_limit), system(system_blocks(h)) {}

  const Handle& handle;
  const ExtOptions& options;
  NodeTable table;
  FindingList findings;
  BlockRanges system;
  BlockSet claimed;  // blocks of mapping trees: each may serve one inode, once

  // A run of blocks that may hold a file's data or its own metadata.
  bool may_hold_file(std::uint64_t block, std::uint64_t count) const {
    return handle.is_data_range(block, count) && !system.intersects(block, count);
  }
  std::uint64_t offset_of(std::uint64_t block) const { return block * handle.block_size(); }
};

}  // namespace respaldo::fs::ext
