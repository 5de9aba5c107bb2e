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
  explicit Impl(block::DevicePtr metadata) : device(std::move(metadata)) { open(); }

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

  void open() {
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
    walk(super.details_root.get(), sizeof(ThinDetails), [&](std::uint64_t key, const std::uint8_t* value) {
      ThinDetails details;
      std::memcpy(&details, value, sizeof(details));
      if (key > 0xffffff) throw damaged(fmt::format("thin device {} has too large a number", key));
      devices.push_back({static_cast<std::uint32_t>(key), details.mapped_blocks.get(),
                         details.transaction_id.get(), details.creation_time.get(),
                         details.snapshotted_time.get()});
    });
  }

  template <class Visit>
  void walk(std::uint64_t root, std::uint32_t value_size, Visit visit) const {
    Walk<Visit>{*this, value_size, visit}.node(root, 0, 0, kNoLimit);
  }

  // Visits the leaves of a tree in order of their keys. Keys of a child must lie between those of its parent,
  // so that no block can be met twice on one level, and the depth is bounded: every walk ends.
  template <class Visit>
  struct Walk {
    const Impl& impl;
    std::uint32_t value_size;
    Visit& visit;

    void node(std::uint64_t number, unsigned depth, std::uint64_t low, std::uint64_t last) {
      if (depth >= kDeepest) throw impl.damaged(fmt::format("the tree at block {} is too deep", number));
      Bytes bytes(kThinBlock);
      impl.read_block(number, kThinNodeSalt, bytes);
      ThinNodeHeader header;
      std::memcpy(&header, bytes.data(), sizeof(header));
      const bool leaf = header.flags.get() & kThinLeafNode;
      const bool internal = header.flags.get() & kThinInternalNode;
      const std::uint64_t count = header.entries.get(), capacity = header.capacity.get();
      const std::uint64_t size = internal ? sizeof(std::uint64_t) : value_size;
      if (leaf == internal || header.value_size.get() != size || count > capacity ||
          capacity > (kThinBlock - sizeof(header)) / (sizeof(std::uint64_t) + size) ||
          (count == 0 && depth > 0))
        throw impl.damaged(fmt::format("block {} is not the tree node that it should be", number));
      const std::uint8_t* keys = bytes.data() + sizeof(header);
      const std::uint8_t* values = keys + capacity * sizeof(std::uint64_t);
      const auto key = [&](std::uint64_t i) { return load_le64(keys + i * sizeof(std::uint64_t)); };
      for (std::uint64_t i = 0; i < count; ++i) {
        if (key(i) < low || key(i) > last || (i > 0 && key(i) <= key(i - 1)))
          throw impl.damaged(fmt::format("block {}: key {} is out of order", number, key(i)));
      }
      for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint8_t* value = values + i * size;
        if (leaf)
          visit(key(i), value);
        else
          node(load_le64(value), depth + 1, key(i), i + 1 < count ? key(i + 1) - 1 : last);
      }
    }
  };
};

ThinMetadata::ThinMetadata(block::DevicePtr metadata) : impl_(std::make_unique<Impl>(std::move(metadata))) {}
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
  std::optional<std::uint64_t> root;
  impl_->walk(impl_->super.mapping_root.get(), sizeof(std::uint64_t),
              [&](std::uint64_t key, const std::uint8_t* value) {
                if (key == device_id) root = load_le64(value);
              });
  if (!root) throw impl_->damaged(fmt::format("it holds no thin device {}", device_id));
  std::vector<ThinRun> runs;
  impl_->walk(*root, sizeof(std::uint64_t), [&](std::uint64_t key, const std::uint8_t* value) {
    const std::uint64_t block = load_le64(value) >> 24;
    if (block >= data_blocks())
      throw impl_->damaged(fmt::format("thin device {}: block {} is mapped to data block {} of {}", device_id,
                                       key, block, data_blocks()));
    if (!runs.empty() && runs.back().virtual_block + runs.back().length == key &&
        runs.back().data_block + runs.back().length == block) {
      ++runs.back().length;
    } else {
      runs.push_back({key, block, 1});
    }
  });
  return runs;
}

}  // namespace respaldo::dm
