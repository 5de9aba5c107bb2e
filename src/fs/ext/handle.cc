#include "fs/ext/handle.h"

#include <et/com_err.h>
#include <fmt/format.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "base/endian.h"
#include "base/error.h"
#include "fs/ext/ext_format.h"

namespace respaldo::fs::ext {

namespace {

static_assert(std::endian::native == std::endian::little, "libext2fs' structures are read as the host's");

// What the C library's callbacks find at channel->private_data. Lives as long as the channel is open; the
// pointers are of the caller of ext2fs_open2 and are cleared when it is done: libext2fs reads nothing
// afterwards.
struct Channel {
  const block::Device* device = nullptr;
  const ext2_super_block* checked_super = nullptr;
  std::exception_ptr* failure = nullptr;  // exceptions must not cross C code
};

errcode_t close_channel(io_channel channel) {
  if (--channel->refcount > 0) return 0;
  delete static_cast<Channel*>(channel->private_data);
  std::free(channel->name);
  std::free(channel);
  return 0;
}

errcode_t set_block_size(io_channel channel, int size) {
  channel->block_size = size;
  return 0;
}

errcode_t read_blocks(io_channel channel, unsigned long long block, int count, void* data) {
  auto& state = *static_cast<Channel*>(channel->private_data);
  const auto unit = static_cast<std::uint64_t>(channel->block_size);
  const std::uint64_t length =
      count < 0 ? static_cast<std::uint64_t>(-std::int64_t{count}) : static_cast<std::uint64_t>(count) * unit;
  if (state.device == nullptr || unit == 0 || block > state.device->size() / unit) return EXT2_ET_SHORT_READ;
  const std::uint64_t offset = block * unit;
  if (length > state.device->size() - offset) return EXT2_ET_SHORT_READ;
  if (offset == SUPERBLOCK_OFFSET && length == SUPERBLOCK_SIZE) {  // what was checked is what is used
    std::memcpy(data, state.checked_super, SUPERBLOCK_SIZE);
    return 0;
  }
  try {
    state.device->read_at(offset, {static_cast<std::uint8_t*>(data), length});
    return 0;
  } catch (...) {
    *state.failure = std::current_exception();
    return EXT2_ET_SHORT_READ;
  }
}

errcode_t read_blocks32(io_channel channel, unsigned long block, int count, void* data) {
  return read_blocks(channel, block, count, data);
}
errcode_t refuse_write(io_channel, unsigned long, int, const void*) { return EXT2_ET_RO_FILSYS; }
errcode_t refuse_write64(io_channel, unsigned long long, int, const void*) { return EXT2_ET_RO_FILSYS; }
errcode_t refuse_range(io_channel, unsigned long long, unsigned long long) { return EXT2_ET_RO_FILSYS; }
errcode_t nothing_to_flush(io_channel) { return 0; }

// libext2fs hands its callbacks a name and nothing else: the name is the address of the Channel to copy.
errcode_t open_channel(const char* name, int flags, io_channel* result);

struct_io_manager make_manager() {
  struct_io_manager manager{};
  manager.magic = EXT2_ET_MAGIC_IO_MANAGER;
  manager.name = "block device";
  manager.open = open_channel;
  manager.close = close_channel;
  manager.set_blksize = set_block_size;
  manager.read_blk = read_blocks32;
  manager.read_blk64 = read_blocks;
  manager.write_blk = refuse_write;
  manager.write_blk64 = refuse_write64;
  manager.write_byte = refuse_write;
  manager.flush = nothing_to_flush;
  manager.discard = refuse_range;
  manager.zeroout = refuse_range;
  return manager;
}

struct_io_manager* the_manager() {
  static struct_io_manager manager = make_manager();  // a table of functions, never changed
  return &manager;
}

errcode_t open_channel(const char* name, int flags, io_channel* result) {
  if (flags & IO_FLAG_RW) return EXT2_ET_RO_FILSYS;
  const auto* request = reinterpret_cast<const Channel*>(std::strtoull(name, nullptr, 16));
  auto* channel = static_cast<io_channel>(std::calloc(1, sizeof(struct_io_channel)));
  auto* copy = static_cast<char*>(std::malloc(std::strlen(name) + 1));
  auto* state = new (std::nothrow) Channel(*request);
  if (channel == nullptr || copy == nullptr || state == nullptr) {
    std::free(channel);
    std::free(copy);
    delete state;
    return EXT2_ET_NO_MEMORY;
  }
  std::memcpy(copy, name, std::strlen(name) + 1);
  channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
  channel->manager = the_manager();
  channel->name = copy;
  channel->block_size = 1024;
  channel->refcount = 1;
  channel->private_data = state;
  *result = channel;
  return 0;
}

std::string library_message(errcode_t code) {
  static const bool table_added = (initialize_ext2_error_table(), true);
  static_cast<void>(table_added);
  return error_message(code);
}

Error damaged(const block::Device& device, std::string what) {
  return Error(ErrorKind::corrupt, fmt::format("{}: the ext superblock {}", device.describe(), what),
               "e2fsck can use a backup superblock; the image view is not affected");
}

// Everything that decides how much is read and allocated later on.
void check_superblock(const block::Device& device, const ext2_super_block& super) {
  // Multi-mount protection concerns who writes; the library lists it only where it is built to write.
  const std::uint32_t known = EXT2_LIB_FEATURE_INCOMPAT_SUPP | EXT4_FEATURE_INCOMPAT_MMP;
  if (const std::uint32_t unknown = super.s_feature_incompat & ~known; unknown != 0)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: the ext filesystem has incompatible features 0x{:x} that are not known",
                            device.describe(), unknown),
                "the image view is not affected");
  if (super.s_rev_level > 1) throw damaged(device, fmt::format("is of revision {}", super.s_rev_level));
  if (super.s_log_block_size > 6)
    throw damaged(device, fmt::format("claims blocks of 2^{} KiB", super.s_log_block_size));
  const std::uint64_t block_size = std::uint64_t{1024} << super.s_log_block_size;
  const bool wide = super.s_rev_level > 0;
  const std::uint64_t inode_size = wide ? super.s_inode_size : kOldInodeSize;
  if (inode_size < kOldInodeSize || inode_size > block_size || !std::has_single_bit(inode_size))
    throw damaged(device, fmt::format("claims inodes of {} bytes", inode_size));
  std::uint64_t blocks = super.s_blocks_count;
  const bool has_64bit = (super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT) != 0;
  if (has_64bit) blocks |= std::uint64_t{super.s_blocks_count_hi} << 32;
  if (blocks == 0 || blocks > device.size() / block_size)
    throw damaged(device, fmt::format("claims {} blocks of {} bytes, the device has {} bytes", blocks,
                                      block_size, device.size()));
  // mke2fs never goes below 256 blocks; a hostile superblock could ask for a descriptor for every eight.
  const std::uint64_t per_group = super.s_blocks_per_group;
  if (per_group < 256 || per_group % 8 != 0)
    throw damaged(device, fmt::format("claims {} blocks per group", per_group));
  const std::uint64_t clusters = super.s_clusters_per_group;
  if (clusters > 8 * block_size || (clusters == 0 && wide))
    throw damaged(device, fmt::format("claims {} clusters per group", clusters));
  if (super.s_first_data_block > 1 || super.s_first_data_block >= blocks)
    throw damaged(device, fmt::format("claims block {} to be the first", super.s_first_data_block));
  const std::uint64_t inodes = super.s_inodes_per_group;
  if (inodes == 0 || inodes > 8 * block_size || inodes % 8 != 0)
    throw damaged(device, fmt::format("claims {} inodes per group", inodes));
  const std::uint64_t groups = (blocks - super.s_first_data_block + per_group - 1) / per_group;
  const std::uint64_t table_blocks = (inodes * inode_size + block_size - 1) / block_size;
  if (groups * inodes != super.s_inodes_count)
    throw damaged(device, fmt::format("claims {} inodes, {} groups of {} have room for {}",
                                      super.s_inodes_count, groups, inodes, groups * inodes));
  if (table_blocks > blocks / groups + 1 || groups * table_blocks > blocks)
    throw damaged(
        device, fmt::format("claims inode tables of {} blocks in {} blocks", groups * table_blocks, blocks));
  const std::uint64_t desc_size = has_64bit ? super.s_desc_size : 32;
  if (desc_size < (has_64bit ? 64U : 32U) || desc_size > block_size || !std::has_single_bit(desc_size))
    throw damaged(device, fmt::format("claims group descriptors of {} bytes", desc_size));
}

}  // namespace

void Handle::Close::operator()(ext2_filsys fs) const { ext2fs_free(fs); }

std::optional<Handle> Handle::try_open(block::DevicePtr device) {
  if (device->size() < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE) return std::nullopt;
  ext2_super_block super;
  static_assert(sizeof super == SUPERBLOCK_SIZE);
  device->read_at(SUPERBLOCK_OFFSET, {reinterpret_cast<std::uint8_t*>(&super), sizeof super});
  if (super.s_magic != EXT2_SUPER_MAGIC) return std::nullopt;
  if (super.s_feature_incompat & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV)
    return std::nullopt;  // a journal, no files
  check_superblock(*device, super);

  Handle handle(device);
  std::exception_ptr failure;
  const Channel request{device.get(), &super, &failure};
  const std::string name = fmt::format("{:x}", reinterpret_cast<std::uintptr_t>(&request));
  ext2_filsys fs = nullptr;
  const errcode_t code =
      ext2fs_open2(name.c_str(), nullptr, EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP, 0, 0, the_manager(), &fs);
  if (failure) std::rethrow_exception(failure);
  if (code != 0)
    throw Error(
        code == EXT2_ET_SHORT_READ ? ErrorKind::io : ErrorKind::corrupt,
        fmt::format("{}: the ext filesystem cannot be opened: {}", device->describe(), library_message(code)),
        "e2fsck can repair it; the image view is not affected");
  handle.fs_.reset(fs);
  *static_cast<Channel*>(fs->io->private_data) = {};
  handle.blocks_ = ext2fs_blocks_count(fs->super);
  const bool wide = fs->super->s_rev_level > 0;
  handle.inode_size_ = wide ? fs->super->s_inode_size : static_cast<std::uint32_t>(kOldInodeSize);
  handle.first_inode_ = wide ? fs->super->s_first_ino : kFirstInodeOfOldRevision;
  handle.checksums_ = ext2fs_has_feature_metadata_csum(fs->super);
  return handle;
}

bool Handle::group_is_sound(std::uint32_t group) const {
  return ext2fs_group_desc_csum_verify(fs_.get(), group) != 0;
}

std::uint64_t Handle::inode_table(std::uint32_t group) const {
  const std::uint64_t block = ext2fs_inode_table_loc(fs_.get(), group);
  return is_data_range(block, inode_table_blocks()) ? block : 0;
}

std::uint32_t Handle::inodes_used(std::uint32_t group) const {
  if (!ext2fs_has_group_desc_csum(fs_.get()) || !group_is_sound(group)) return inodes_per_group();
  if (ext2fs_bg_flags_test(fs_.get(), group, EXT2_BG_INODE_UNINIT)) return 0;
  const std::uint32_t unused = ext2fs_bg_itable_unused(fs_.get(), group);
  return unused > inodes_per_group() ? inodes_per_group() : inodes_per_group() - unused;
}

}  // namespace respaldo::fs::ext
