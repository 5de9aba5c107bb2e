#include "dm/thin_metadata.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crc.h"
#include "base/error.h"
#include "base/units.h"
#include "dm/thin_format.h"

namespace respaldo::dm {

namespace {

constexpr unsigned kDeepest = 16;  // levels of one tree; 126^16 is past any key
constexpr std::uint64_t kNoLimit = UINT64_MAX;

}  // namespace

struct ThinMetadata::Impl {
  Impl(block::DevicePtr metadata, ThinRoot root) : device(std::move(metadata)) { open(root); }

  block::DevicePtr device;
  ThinSuperblock super{};
  std::uint64_t blocks = 0;  // of the device that may be used
  std::vector<ThinDevice> devices;

  Error damaged(std::string what) const {
    return Error(ErrorKind::corrupt, fmt::format("thin pool metadata {}: {}", device->describe(), what),
                 "check it with thin_check, and repair a copy of it with thin_repair");
  }

  // A block whose checksum and own number are right.
  void read_block(std::uint64_t number, std::uint32_t salt, MutableBytes out) const {
    if (number >= blocks) throw damaged(fmt::format("block {} lies outside (it has {})", number, blocks));
    device->read_at(number * kThinBlock, out);
    if ((crc32c_raw(out.subspan(4)) ^ salt) != load_le32(out.data()))
      throw damaged(fmt::format("block {} has a wrong checksum", number));
    if (load_le64(out.data() + 8) != number)
      throw damaged(fmt::format("block {} says that it is block {}", number, load_le64(out.data() + 8)));
  }

  void open(ThinRoot root) {
    blocks = device->size() / kThinBlock;
    if (blocks == 0) throw damaged("too small to hold a superblock");
    Bytes bytes(kThinBlock);
    device->read_at(0, bytes);
    std::memcpy(&super, bytes.data(), sizeof(super));
    if (super.magic.get() != kThinMagic)
      throw damaged(is_zero(bytes) ? "it is empty: the pool was never activated" : "no thin pool superblock");
    read_block(0, kThinSuperblockSalt, bytes);
    const auto refuse = [&](std::string what, std::string hint) {
      return Error(ErrorKind::unsupported, fmt::format("thin pool metadata {}: {}", device->describe(), what),
                   std::move(hint));
    };
    if (super.version.get() < 1 || super.version.get() > 2)
      throw refuse(fmt::format("version {} is not known", super.version.get()), "");
    if (super.incompatible.get() != 0)
      throw refuse(fmt::format("it uses features that are not known ({:#x})", super.incompatible.get()), "");
    if (super.flags.get() & kThinNeedsCheck)
      throw refuse("the pool is marked as needing repair", "repair it: lvconvert --repair, or thin_repair");
    if (super.metadata_block_sectors.get() * kSector != kThinBlock)
      throw damaged(fmt::format("metadata blocks of {} sectors", super.metadata_block_sectors.get()));
    const std::uint64_t sectors = super.data_block_sectors.get();
    if (sectors == 0 || sectors % 128 != 0 || sectors > 2097152)
      throw damaged(fmt::format("data blocks of {} sectors", sectors));
    if (super.data.blocks.get() > (1ULL << 62) / (sectors * kSector))
      throw damaged(fmt::format("{} data blocks", super.data.blocks.get()));
    if (root == ThinRoot::held) use_held_root();
    walk(super.details_root.get(), sizeof(ThinDetails), [&](std::uint64_t key, const std::uint8_t* value) {
      ThinDetails details;
      std::memcpy(&details, value, sizeof(details));
      if (key > 0xffffff) throw damaged(fmt::format("thin device {} has too large a number", key));
      devices.push_back({static_cast<std::uint32_t>(key), details.mapped_blocks.get(),
                         details.transaction_id.get(), details.creation_time.get(),
                         details.snapshotted_time.get()});
    });
  }

  // A metadata snapshot is a copy of the superblock: its trees stand still, its space maps are not kept.
  void use_held_root() {
    const std::uint64_t held = super.held_root.get();
    if (held == 0)
      throw Error(ErrorKind::not_found,
                  fmt::format("thin pool metadata {}: there is no metadata snapshot", device->describe()));
    Bytes bytes(kThinBlock);
    read_block(held, kThinSuperblockSalt, bytes);
    ThinSuperblock copy;
    std::memcpy(&copy, bytes.data(), sizeof(copy));
    if (copy.magic.get() != kThinMagic || copy.data_block_sectors.get() != super.data_block_sectors.get())
      throw damaged(fmt::format("block {} is not the metadata snapshot that it should be", held));
    super.mapping_root = copy.mapping_root;
    super.details_root = copy.details_root;
    super.transaction_id = copy.transaction_id;
  }

  // A node of a tree, checked: keys ascend within [low, last].
  struct Node {
    std::uint64_t block = 0, count = 0, last = 0, value_size = 0;
    bool leaf = false;
    Bytes bytes;
    const std::uint8_t *keys = nullptr, *values = nullptr;

    std::uint64_t key(std::uint64_t i) const { return load_le64(keys + i * sizeof(std::uint64_t)); }
    const std::uint8_t* value(std::uint64_t i) const { return values + i * value_size; }
    // The largest key that child i may have.
    std::uint64_t last_of(std::uint64_t i) const { return i + 1 < count ? key(i + 1) - 1 : last; }
  };

  // Keys of a child must lie between those of its parent, so that no block can be met twice on one level, and
  // the depth is bounded: every walk ends.
  Node read_node(std::uint64_t number, std::uint32_t value_size, unsigned depth, std::uint64_t low,
                 std::uint64_t last) const {
    if (depth >= kDeepest) throw damaged(fmt::format("the tree at block {} is too deep", number));
    Node node;
    node.bytes = Bytes(kThinBlock);
    read_block(number, kThinNodeSalt, node.bytes);
    ThinNodeHeader header;
    std::memcpy(&header, node.bytes.data(), sizeof(header));
    node.block = number;
    node.last = last;
    node.leaf = header.flags.get() & kThinLeafNode;
    const bool internal = header.flags.get() & kThinInternalNode;
    const std::uint64_t capacity = header.capacity.get();
    node.count = header.entries.get();
    node.value_size = internal ? sizeof(std::uint64_t) : value_size;
    if (node.leaf == internal || header.value_size.get() != node.value_size || node.count > capacity ||
        capacity > (kThinBlock - sizeof(header)) / (sizeof(std::uint64_t) + node.value_size) ||
        (node.count == 0 && depth > 0))
      throw damaged(fmt::format("block {} is not the tree node that it should be", number));
    node.keys = node.bytes.data() + sizeof(header);
    node.values = node.keys + capacity * sizeof(std::uint64_t);
    for (std::uint64_t i = 0; i < node.count; ++i) {
      if (node.key(i) < low || node.key(i) > last || (i > 0 && node.key(i) <= node.key(i - 1)))
        throw damaged(fmt::format("block {}: key {} is out of order", number, node.key(i)));
    }
    return node;
  }

  // Visits the leaves of a tree in order of their keys.
  template <class Visit>
  void walk(std::uint64_t root, std::uint32_t value_size, Visit visit) const {
    const auto below = [&](const auto& self, std::uint64_t number, unsigned depth, std::uint64_t low,
                           std::uint64_t last) -> void {
      const Node node = read_node(number, value_size, depth, low, last);
      for (std::uint64_t i = 0; i < node.count; ++i) {
        if (node.leaf)
          visit(node.key(i), node.value(i));
        else
          self(self, load_le64(node.value(i)), depth + 1, node.key(i), node.last_of(i));
      }
    };
    below(below, root, 0, 0, kNoLimit);
  }

  std::uint64_t root_of(std::uint32_t device_id) const {
    std::optional<std::uint64_t> root;
    walk(super.mapping_root.get(), sizeof(std::uint64_t), [&](std::uint64_t key, const std::uint8_t* value) {
      if (key == device_id) root = load_le64(value);
    });
    if (!root) throw damaged(fmt::format("it holds no thin device {}", device_id));
    return *root;
  }

  std::uint64_t data_block(std::uint32_t device_id, std::uint64_t key, const std::uint8_t* value) const {
    const std::uint64_t block = load_le64(value) >> 24;
    if (block >= super.data.blocks.get())
      throw damaged(fmt::format("thin device {}: block {} is mapped to data block {} of {}", device_id, key,
                                block, super.data.blocks.get()));
    return block;
  }

  class Cursor;
};

// A mapping tree from left to right, opened only where one looks. Its head is a subtree that is not opened
// yet, or one mapping.
class ThinMetadata::Impl::Cursor {
 public:
  Cursor(const Impl& impl, std::uint32_t device_id) : impl_(impl), id_(device_id) {
    const std::uint64_t root = impl.root_of(device_id);
    // Leaves lie at one depth: levels are counted from there.
    for (std::uint64_t block = root;; ++height_) {
      const Node node = impl.read_node(block, sizeof(std::uint64_t), height_, 0, kNoLimit);
      if (node.leaf || node.count == 0) break;
      block = load_le64(node.value(0));
    }
    ++height_;
    whole_ = root;
  }

  bool ended() const { return !whole_ && path_.empty(); }
  // 0: a mapping; else a subtree of so many levels.
  unsigned level() const {
    if (whole_) return height_;
    const Step& step = path_.back();
    const auto below = static_cast<unsigned>(path_.size());
    return step.node.leaf ? 0 : below < height_ ? height_ - below : 1;
  }
  std::uint64_t key() const { return whole_ ? 0 : path_.back().node.key(path_.back().at); }
  // Of a subtree.
  std::uint64_t block() const { return whole_ ? *whole_ : load_le64(value()); }
  std::uint64_t data() const { return impl_.data_block(id_, key(), value()); }

  void skip() {
    if (whole_) {
      whole_.reset();
      return;
    }
    while (!path_.empty() && ++path_.back().at == path_.back().node.count) path_.pop_back();
  }
  void open() {
    Step step;
    const std::uint64_t low = key(), last = whole_ ? kNoLimit : path_.back().node.last_of(path_.back().at);
    step.node =
        impl_.read_node(block(), sizeof(std::uint64_t), static_cast<unsigned>(path_.size()), low, last);
    const bool was_whole = whole_.has_value();
    whole_.reset();
    if (step.node.count == 0) {
      if (!was_whole) skip();
      return;
    }
    path_.push_back(std::move(step));
  }

 private:
  struct Step {
    Node node;
    std::uint64_t at = 0;
  };
  const std::uint8_t* value() const { return path_.back().node.value(path_.back().at); }

  const Impl& impl_;
  const std::uint32_t id_;
  unsigned height_ = 0;
  std::optional<std::uint64_t> whole_;  // the root, not opened yet
  std::vector<Step> path_;
};

ThinMetadata::ThinMetadata(block::DevicePtr metadata, ThinRoot root)
    : impl_(std::make_unique<Impl>(std::move(metadata), root)) {}
ThinMetadata::~ThinMetadata() = default;
ThinMetadata::ThinMetadata(ThinMetadata&&) noexcept = default;

std::uint64_t ThinMetadata::block_size() const { return impl_->super.data_block_sectors.get() * kSector; }
std::uint64_t ThinMetadata::transaction_id() const { return impl_->super.transaction_id.get(); }
std::uint64_t ThinMetadata::data_blocks() const { return impl_->super.data.blocks.get(); }
std::uint64_t ThinMetadata::data_blocks_used() const { return impl_->super.data.allocated.get(); }
std::uint64_t ThinMetadata::metadata_blocks() const { return impl_->super.metadata.blocks.get(); }
std::uint64_t ThinMetadata::metadata_blocks_used() const { return impl_->super.metadata.allocated.get(); }
std::vector<ThinDevice> ThinMetadata::devices() const { return impl_->devices; }

std::vector<ThinRun> ThinMetadata::mappings(std::uint32_t device_id) const {
  std::vector<ThinRun> runs;
  impl_->walk(impl_->root_of(device_id), sizeof(std::uint64_t),
              [&](std::uint64_t key, const std::uint8_t* value) {
                const std::uint64_t block = impl_->data_block(device_id, key, value);
                if (!runs.empty() && runs.back().virtual_block + runs.back().length == key &&
                    runs.back().data_block + runs.back().length == block) {
                  ++runs.back().length;
                } else {
                  runs.push_back({key, block, 1});
                }
              });
  return runs;
}

std::vector<ThinDifference> ThinMetadata::differences(std::uint32_t left, std::uint32_t right) const {
  Impl::Cursor a(*impl_, left), b(*impl_, right);
  std::vector<ThinDifference> found;
  const auto add = [&](std::uint64_t key, ThinDifferenceKind kind) {
    if (!found.empty() && found.back().kind == kind &&
        found.back().virtual_block + found.back().length == key) {
      ++found.back().length;
    } else {
      found.push_back({key, 1, kind});
    }
  };
  while (!a.ended() || !b.ended()) {
    const bool both = !a.ended() && !b.ended();
    if (both && a.level() > 0 && b.level() > 0 && a.block() == b.block()) {
      a.skip();
      b.skip();
      continue;
    }
    // What comes first; of two at one place the higher subtree, so that shared ones meet.
    const bool from_a = both ? (a.key() != b.key() ? a.key() < b.key() : a.level() >= b.level()) : !a.ended();
    Impl::Cursor& first = from_a ? a : b;
    if (first.level() > 0) {
      first.open();
    } else if (both && a.key() == b.key()) {
      if (a.data() != b.data()) add(a.key(), ThinDifferenceKind::different);
      a.skip();
      b.skip();
    } else {
      add(first.key(), from_a ? ThinDifferenceKind::left_only : ThinDifferenceKind::right_only);
      first.skip();
    }
  }
  return found;
}

}  // namespace respaldo::dm
