// On-disk structures of ext2/3/4 that are parsed here. Superblock and group descriptors are libext2fs'.
// Source: kernel 6.1 fs/ext4 behaviour, e2fsprogs 1.47. docs/formats/ext.md.
#pragma once

#include <cstdint>

#include "base/endian.h"

namespace respaldo::fs::ext {

inline constexpr std::uint32_t kRootInode = 2;
inline constexpr std::uint32_t kJournalInode = 8;
inline constexpr std::uint32_t kFirstInodeOfOldRevision = 11;

struct InodeDisk {
  Le16 mode, uid;
  Le32 size, atime, ctime, mtime, dtime;
  Le16 gid, links;
  Le32 blocks, flags, version;
  std::uint8_t block[60];
  Le32 generation, file_acl, size_high, obsolete_fragment;
  Le16 blocks_high, file_acl_high, uid_high, gid_high, checksum_low, reserved;
  // From here on only in inodes of more than 128 bytes, as far as extra_size reaches.
  Le16 extra_size, checksum_high;
  Le32 ctime_extra, mtime_extra, atime_extra, crtime, crtime_extra, version_high, project;
};
static_assert(sizeof(InodeDisk) == 160 && alignof(InodeDisk) == 1);
inline constexpr std::size_t kOldInodeSize = 128;

enum InodeFlag : std::uint32_t {
  kCompressedFlag = 0x4,
  kEncryptFlag = 0x800,
  kIndexFlag = 0x1000,
  kExtentsFlag = 0x80000,
  kVerityFlag = 0x100000,
  kEaInodeFlag = 0x200000,
  kInlineDataFlag = 0x10000000,
};

struct ExtentHeaderDisk {
  Le16 magic, entries, max, depth;
  Le32 generation;
};
inline constexpr std::uint16_t kExtentMagic = 0xF30A;
inline constexpr unsigned kExtentDepthLimit = 5;
struct ExtentIndexDisk {
  Le32 logical, leaf_low;
  Le16 leaf_high, unused;
};
struct ExtentLeafDisk {
  Le32 logical;
  Le16 length;  // above 32768: unwritten, and 32768 too many
  Le16 start_high;
  Le32 start_low;
};
static_assert(sizeof(ExtentHeaderDisk) == 12 && sizeof(ExtentIndexDisk) == 12 &&
              sizeof(ExtentLeafDisk) == 12);
inline constexpr std::uint32_t kExtentWrittenLimit = 32768;

struct DirentDisk {
  Le32 inode;
  Le16 record_length;
  std::uint8_t name_length, file_type;  // without the filetype feature: a 16-bit name length
};
static_assert(sizeof(DirentDisk) == 8);
inline constexpr std::size_t kDirentTailSize = 12;  // inode 0, length 12, name length 0, type 0xDE, checksum
inline constexpr std::uint8_t kDirentTailType = 0xDE;

inline constexpr std::uint32_t kXattrMagic = 0xEA020000;
inline constexpr std::size_t kXattrBlockHeaderSize = 32;
struct XattrEntryDisk {
  std::uint8_t name_length, name_index;
  Le16 value_offset;
  Le32 value_inode, value_size, hash;
};
static_assert(sizeof(XattrEntryDisk) == 16);
inline constexpr std::uint32_t kXattrValueLimit = 65536;

enum XattrIndex : std::uint8_t {
  kXattrUser = 1,
  kXattrAclAccess = 2,
  kXattrAclDefault = 3,
  kXattrTrusted = 4,
  kXattrSecurity = 6,
  kXattrSystem = 7,  // "data": the rest of inline data; not shown
  kXattrEncryption = 9,
};

}  // namespace respaldo::fs::ext
