#include "fs/ext/ext_reader.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "base/endian.h"
#include "base/error.h"
#include "base/hex.h"
#include "fs/ext/block_map.h"
#include "fs/ext/directory_scan.h"
#include "fs/ext/inode_scan.h"
#include "fs/ext/journal.h"
#include "fs/ext/space_map.h"
#include "fs/ext/xattr_format.h"

namespace respaldo::fs {

using namespace ext;

struct ExtReader::Impl {
  Impl(block::DevicePtr d, ExtOptions o) : options(std::move(o)), device(std::move(d)) {}

  const ExtOptions options;
  block::DevicePtr device;       // recovered
  std::optional<Handle> handle;  // on it
  std::unique_ptr<ScanState> state;
  ExtFacts facts;
  SpaceMap space;

  const NodeRecord& record(NodeIndex index) const { return state->table.nodes.at(index); }
  void open();
  void recover(const Handle& raw, FindingList& findings);
  void scan(const Handle& raw, FindingList& early);
  void describe();
};

namespace {

bool needs_recovery(const Handle& handle) {
  return ext2fs_has_feature_journal_needs_recovery(handle.fs()->super) != 0;
}

// The journal's blocks in order, from its inode. Error(corrupt) when they cannot be told.
JournalPlace place_of_journal(const Handle& handle, const ExtOptions& options) {
  const auto bad = [&](std::string_view why) {
    return Error(ErrorKind::corrupt, fmt::format("{}: the journal {}", handle.device().describe(), why));
  };
  const auto inode = read_inode(handle, handle.super().s_journal_inum);
  if (!inode || inode->disk.links.get() == 0) throw bad("has no inode that can be trusted");
  ScanState state(handle, options);
  NodeRecord node;
  node.inode = handle.super().s_journal_inum;
  node.flags = inode->disk.flags.get();
  if (handle.has_checksums()) {
    std::uint8_t words[8];
    store_le32(words, node.inode);
    store_le32(words + 4, inode->disk.generation.get());
    node.checksum_seed = crc32c(handle.seed(), words);
  }
  state.table.nodes.push_back(node);
  BlockMap map(state);
  map.add(0, ByteView(inode->disk.block, sizeof inode->disk.block));
  map.finish();
  const NodeRecord& mapped = state.table.nodes.front();
  if ((mapped.traits & kUnreadable) != 0) throw bad(state.findings.kept().front().what);
  JournalPlace place{handle.block_size(), handle.block_count(), {}};
  std::uint64_t next = 0;
  for (std::uint32_t i = 0; i < mapped.extent_count; ++i) {
    const PackedExtent& extent = state.table.extents[mapped.first_extent + i];
    if (extent.logical != next || extent.unwritten != 0) break;
    place.blocks.push_back({extent.physical, extent.length});
    next += extent.length;
  }
  if (place.blocks.empty()) throw bad("has no blocks");
  return place;
}

// As libblkid tells them apart.
std::string type_of(const ext2_super_block& super) {
  constexpr std::uint32_t kExt3Incompat =
      EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_RECOVER | EXT2_FEATURE_INCOMPAT_META_BG;
  constexpr std::uint32_t kExt3RoCompat =
      EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE | 0x4U;  // btree_dir
  if ((super.s_feature_incompat & ~kExt3Incompat) != 0 || (super.s_feature_ro_compat & ~kExt3RoCompat) != 0)
    return "ext4";
  return (super.s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) != 0 ? "ext3" : "ext2";
}

std::string uuid_text(const std::uint8_t (&uuid)[16]) {
  std::string hex = to_hex(uuid);
  for (const std::size_t at : {8, 13, 18, 23}) hex.insert(at, 1, '-');
  return hex;
}

}  // namespace

void ExtReader::Impl::recover(const Handle& raw, FindingList& findings) {
  if (!needs_recovery(raw)) return;
  if (raw.super().s_journal_inum == 0) {
    facts.journal = JournalState::external;
    findings.add(
        0, "the journal lies on another device and needs recovery: the files are shown as the disk has them");
    return;
  }
  try {
    Replay replay = replay_journal(device, place_of_journal(raw, options));
    facts.journal = replay.problem ? JournalState::partial : JournalState::replayed;
    facts.transactions_replayed = replay.transactions;
    if (replay.problem) findings.add(0, fmt::format("the journal: {}", *replay.problem));
    space.recovered = std::move(replay.written);
    device = std::move(replay.device);
  } catch (const Error& error) {
    facts.journal = JournalState::partial;
    findings.add(0, fmt::format("the journal needs recovery, and cannot be replayed: {}", error.what()));
  }
}

void ExtReader::Impl::open() {
  auto raw = Handle::try_open(device);
  if (!raw) return;
  FindingList early(options.finding_limit);
  recover(*raw, early);
  if (!space.recovered.empty()) {
    try {
      handle = Handle::try_open(device);
    } catch (const Error& error) {
      early.add(0, fmt::format("the journal holds a superblock that cannot be used: {}", error.what()));
    }
    if (!handle) {  // what recovery gives is worse than what is there
      facts.journal = JournalState::partial;
      device = raw->device_ptr();
      space.recovered = {};
    }
  }
  if (!handle) handle = Handle::try_open(device);
  scan(*raw, early);
  describe();
}

void ExtReader::Impl::scan(const Handle& raw, FindingList& early) {
  state = std::make_unique<ScanState>(*handle, options);
  for (Finding& finding : early.kept())
    state->findings.add(static_cast<std::uint32_t>(finding.inode), std::move(finding.what));
  scan_inodes(*state);
  facts.encrypted_directories = scan_directories(*state).encrypted;

  if ((handle->super().s_state & EXT2_ERROR_FS) == 0 &&
      (facts.journal == JournalState::none || facts.journal == JournalState::replayed))
    space.free = sound_free_space(*state);
  if (facts.journal == JournalState::replayed) {
    FindingList unheard(0);
    space.free = space.free.intersected(free_by_bitmaps(raw, options, unheard));
  }
  if (state->findings.tells_damage())
    facts.notes.push_back("the filesystem is damaged: its free space is stored as it is");
  state->claimed = {};
  for (Finding& finding : state->findings.kept())
    if (finding.inode != 0) finding.path = state->table.path(state->table.find(static_cast<std::uint32_t>(finding.inode)));
}

void ExtReader::Impl::describe() {
  const ext2_super_block& super = handle->super();
  facts.type = type_of(super);
  facts.label.assign(
      reinterpret_cast<const char*>(super.s_volume_name),
      ::strnlen(reinterpret_cast<const char*>(super.s_volume_name), sizeof super.s_volume_name));
  facts.uuid = uuid_text(super.s_uuid);
  facts.mount_options.assign(
      reinterpret_cast<const char*>(super.s_mount_opts),
      ::strnlen(reinterpret_cast<const char*>(super.s_mount_opts), sizeof super.s_mount_opts));
  facts.block_size = handle->block_size();
  facts.cluster_size = std::uint64_t{handle->block_size()} * handle->blocks_per_cluster();
  facts.size = handle->block_count() * handle->block_size();
  facts.inodes_in_use = state->table.nodes.size();
  facts.marked_with_errors = (super.s_state & EXT2_ERROR_FS) != 0;
}

ExtReader::ExtReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ExtReader::~ExtReader() = default;

std::unique_ptr<ExtReader> try_open_ext(block::DevicePtr device, const ExtOptions& options) {
  auto impl = std::make_unique<ExtReader::Impl>(std::move(device), options);
  impl->open();
  if (!impl->handle) return nullptr;
  return std::unique_ptr<ExtReader>(new ExtReader(std::move(impl)));
}

const ExtFacts& ExtReader::facts() const { return impl_->facts; }
const SpaceMap& ExtReader::space() const { return impl_->space; }
const std::vector<Finding>& ExtReader::findings() const { return impl_->state->findings.kept(); }
std::uint64_t ExtReader::finding_count() const { return impl_->state->findings.count(); }
const block::DevicePtr& ExtReader::device() const { return impl_->device; }
std::size_t ExtReader::node_count() const { return impl_->state->table.nodes.size(); }

bool ExtReader::is_named(NodeIndex index) const { return (impl_->record(index).traits & kNamed) != 0; }

FileNode ExtReader::node(NodeIndex index) const {
  const NodeRecord& record = impl_->record(index);
  FileNode node;
  node.inode = record.inode;
  node.mode = record.mode;
  node.uid = record.uid;
  node.gid = record.gid;
  node.links = record.links;
  node.flags = record.flags;
  node.size = record.size;
  node.atime = record.atime.unpack();
  node.mtime = record.mtime.unpack();
  node.ctime = record.ctime.unpack();
  if (S_ISCHR(record.mode) || S_ISBLK(record.mode)) node.device = record.payload;
  node.readable = (record.traits & kUnreadable) == 0;
  node.encrypted = (record.flags & kEncryptFlag) != 0;
  node.has_inline_data = (record.traits & kInline) != 0;
  return node;
}

NodeIndex ExtReader::root() const {
  const auto root = find_inode(kRootInode);
  return root && is_named(*root) ? *root : kNoNode;
}

std::optional<NodeIndex> ExtReader::find_inode(std::uint32_t inode) const {
  const NodeIndex index = impl_->state->table.find(inode);
  if (index == kNoNode) return std::nullopt;
  return index;
}

std::size_t ExtReader::entry_count(NodeIndex directory) const { return impl_->record(directory).entry_count; }

DirectoryEntry ExtReader::entry(NodeIndex directory, std::size_t number) const {
  const NodeRecord& record = impl_->record(directory);
  if (number >= record.entry_count) throw Error(ErrorKind::internal, "no such entry of a directory");
  const EntryRecord& entry = impl_->state->table.entries[record.first_entry + number];
  return {impl_->state->table.name_of(entry), entry.node};
}

std::string ExtReader::path(NodeIndex index) const { return impl_->state->table.path(index); }

std::vector<FileExtent> ExtReader::extents(NodeIndex index) const {
  const NodeRecord& record = impl_->record(index);
  const std::uint64_t unit = impl_->handle->block_size();
  std::vector<FileExtent> result;
  for (std::uint32_t i = 0; i < record.extent_count; ++i) {
    const PackedExtent& packed = impl_->state->table.extents[record.first_extent + i];
    FileExtent extent{packed.logical * unit, packed.physical * unit, packed.length * unit,
                      packed.unwritten != 0};
    if (extent.logical >= record.size) break;
    extent.length = std::min(extent.length, record.size - extent.logical);
    result.push_back(extent);
  }
  return result;
}

ByteView ExtReader::inline_data(NodeIndex index) const {
  const NodeRecord& record = impl_->record(index);
  if ((record.traits & kInline) == 0) return {};
  return as_bytes(impl_->state->table.payload_of(record));
}

std::string_view ExtReader::link_target(NodeIndex index) const {
  const NodeRecord& record = impl_->record(index);
  return S_ISLNK(record.mode) ? impl_->state->table.payload_of(record) : std::string_view{};
}

std::vector<FileXattr> ExtReader::xattrs(NodeIndex index) const {
  const NodeRecord& record = impl_->record(index);
  std::vector<FileXattr> result;
  for (const std::uint32_t set : {record.own_xattrs, record.block_xattrs}) {
    for (const StoredXattr& stored : impl_->state->table.xattrs.decode(set)) {
      auto name = xattr_name(stored);
      if (!name) continue;
      std::string value(stored.value);
      if (stored.value_inode != 0) {
        const auto holder = find_inode(stored.value_inode);
        if (!holder || (impl_->record(*holder).flags & kEaInodeFlag) == 0 ||
            (impl_->record(*holder).traits & kUnreadable) != 0 ||
            impl_->record(*holder).size < stored.value_size)
          throw Error(
              ErrorKind::corrupt,
              fmt::format("the extended attribute {} of inode {} has lost its value", *name, record.inode));
        value.resize(stored.value_size);
        read(*holder, 0, {reinterpret_cast<std::uint8_t*>(value.data()), value.size()});
      }
      if (stored.index == kXattrAclAccess || stored.index == kXattrAclDefault) {
        auto acl = acl_from_disk(value);
        if (!acl)
          throw Error(ErrorKind::corrupt,
                      fmt::format("the access control list of inode {} is damaged", record.inode));
        value = std::move(*acl);
      }
      result.push_back({std::move(*name), std::move(value)});
    }
  }
  return result;
}

bool ExtReader::lost_xattrs(NodeIndex index) const {
  return (impl_->record(index).traits & kLostXattrs) != 0;
}

std::size_t ExtReader::read(NodeIndex index, std::uint64_t offset, MutableBytes out) const {
  const NodeRecord& record = impl_->record(index);
  if (offset >= record.size) return 0;
  out = out.first(std::min<std::uint64_t>(out.size(), record.size - offset));
  std::ranges::fill(out, std::uint8_t{0});
  if ((record.traits & kInline) != 0) {
    const ByteView data = inline_data(index);
    if (offset < data.size())
      std::memcpy(out.data(), data.data() + offset, std::min<std::size_t>(out.size(), data.size() - offset));
    return out.size();
  }
  const std::uint64_t unit = impl_->handle->block_size();
  const PackedExtent* first = impl_->state->table.extents.data() + record.first_extent;
  const PackedExtent* last = first + record.extent_count;
  const PackedExtent* at = std::partition_point(first, last, [&](const PackedExtent& extent) {
    return (std::uint64_t{extent.logical} + extent.length) * unit <= offset;
  });
  for (; at != last && at->logical * unit < offset + out.size(); ++at) {
    const Extent both = intersect({at->logical * unit, at->length * unit}, {offset, out.size()});
    if (both.empty() || at->unwritten != 0) continue;
    impl_->device->read_at(at->physical * unit + (both.offset - at->logical * unit),
                           out.subspan(both.offset - offset, both.length));
  }
  return out.size();
}

}  // namespace respaldo::fs
