#include "fs/mounted/mounted_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <mutex>

#include "base/error.h"
#include "base/printable.h"
#include "fs/mounted/btrfs_identity.h"
#include "fs/mounted/file_places.h"
#include "fs/mounted/mounted_folder.h"
#include "fs/mounted/mounted_walk.h"
#include "fs/mounted/private_disk.h"
#include "fs/mounted/private_mount.h"
#include "os/thread_group.h"

namespace respaldo::fs {

namespace {

// Where XFS keeps its log (struct xfs_dsb, big-endian); nothing for other filesystems, or when it lies
// elsewhere.
ExtentSet log_of(const block::Device& device, std::string_view type) {
  if (type != "xfs" || device.size() < 512) return {};
  const Bytes super = block::read(device, 0, 512);
  const auto number = [&](std::size_t at, std::size_t length) {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : ByteView(super).subspan(at, length)) value = value << 8 | byte;
    return value;
  };
  const std::uint64_t block = number(4, 4), start = number(48, 8), group = number(84, 4),
                      length = number(96, 4);
  const std::uint64_t shift = number(124, 1);
  if (start == 0 || shift >= 32 || block > 65536) return {};
  const std::uint64_t begin =
      ((start >> shift) * group + (start & ((std::uint64_t{1} << shift) - 1))) * block;
  if (begin > device.size()) return {};
  ExtentSet log;
  log.add({begin, std::min(length * block, device.size() - begin)});
  return log;
}

// Files that are open for reading.
class OpenFiles {
 public:
  using File = std::shared_ptr<const os::UniqueFd>;
  File find(NodeIndex index) {
    const std::lock_guard lock(mutex_);
    for (const auto& [known, file] : files_)
      if (known == index) return file;
    return nullptr;
  }
  void keep(NodeIndex index, File file) {
    const std::lock_guard lock(mutex_);
    files_.emplace_front(index, std::move(file));
    if (files_.size() > kMost) files_.pop_back();
  }

 private:
  static constexpr std::size_t kMost = 16;
  std::mutex mutex_;
  std::list<std::pair<NodeIndex, File>> files_;
};

class MountedReader final : public FileReader {
 public:
  MountedReader(block::DevicePtr device, const ProbeResult& found, const MountedOptions& options)
      : device_(std::move(device)), kind_(mount_kind(found.type)), options_(options) {
    facts_.type = found.type;
    facts_.label = found.label;
    facts_.uuid = found.uuid;
    facts_.how = "mounted";
    facts_.size = device_->size();
    facts_.may_exceed_device = kind_.may_exceed;
  }

  void open() {
    disk_ = std::make_unique<PrivateDisk>(kind_.type == "btrfs" ? with_own_identity(device_) : device_);
    const ExtentSet free = free_on_disk();
    mount();
    struct ::statfs st {};
    if (::fstatfs(root_.get(), &st) == 0 && st.f_bsize > 0)
      facts_.block_size = static_cast<std::uint32_t>(st.f_bsize);
    space_.recovered = disk_->written();
    // A clean mount may write to the log itself.
    if (!space_.recovered.minus(log_of(*device_, kind_.type)).empty() && facts_.journal == JournalState::none)
      facts_.journal = JournalState::replayed;
    if (facts_.journal != JournalState::skipped)  // the log may have given away what the disk calls free
      space_.free = free_space(root_.get(), device_->size()).intersected(free).minus(space_.recovered);
    walk_ = walk_mounted(root_.get(),
                         {kind_, facts_.block_size, facts_.size, options_.finding_limit, options_.stop});
    for (Finding& finding : early_) walk_.findings.insert(walk_.findings.begin(), std::move(finding));
    walk_.finding_count += early_.size();
    facts_.notes = std::move(walk_.notes);
    confirm_places();
    leave_files_out_of_free_space();
  }

  const FilesystemFacts& facts() const override { return facts_; }
  const SpaceMap& space() const override { return space_; }
  const std::vector<Finding>& findings() const override { return walk_.findings; }
  std::uint64_t finding_count() const override { return walk_.finding_count; }
  std::size_t node_count() const override { return table().nodes.size(); }
  NodeIndex root() const override { return 0; }
  bool is_named(NodeIndex index) const override {
    return index == 0 || table().nodes.at(index).name != kNoNode;
  }

  FileNode node(NodeIndex index) const override {
    const MountedNode& record = table().nodes.at(index);
    FileNode node;
    node.inode = record.inode;
    node.subvolume = record.subvolume;
    node.mode = record.mode;
    node.uid = record.uid;
    node.gid = record.gid;
    node.links = record.links;
    node.size = record.size;
    node.atime = {record.atime, record.atime_ns};
    node.mtime = {record.mtime, record.mtime_ns};
    node.ctime = {record.ctime, record.ctime_ns};
    node.device = record.device;
    node.readable = record.readable;
    return node;
  }

  std::size_t entry_count(NodeIndex directory) const override {
    return table().nodes.at(directory).entry_count;
  }
  DirectoryEntry entry(NodeIndex directory, std::size_t number) const override {
    const MountedNode& record = table().nodes.at(directory);
    if (number >= record.entry_count) throw Error(ErrorKind::internal, "no such entry of a directory");
    const MountedEntry& entry = table().entries[record.first_entry + number];
    return {table().name_of(entry), entry.node};
  }
  std::string path(NodeIndex index) const override { return table().path(index); }

  std::vector<FileExtent> extents(NodeIndex index) const override {
    const MountedNode& record = table().nodes.at(index);
    if (!record.readable) return {};
    const auto first = table().extents.begin() + static_cast<std::ptrdiff_t>(record.first_extent);
    std::vector<FileExtent> result(first, first + record.extent_count);
    if (!places_hold_)
      for (FileExtent& extent : result)
        if (!extent.unwritten) extent.physical = kNoPlace;
    return result;
  }
  std::string_view link_target(NodeIndex index) const override {
    const MountedNode& record = table().nodes.at(index);
    return std::string_view(table().bytes).substr(record.target, record.target_length);
  }
  std::vector<FileXattr> xattrs(NodeIndex index) const override {
    const std::uint32_t set = table().nodes.at(index).xattrs;
    return set == kNoNode ? std::vector<FileXattr>{} : table().xattrs.at(set);
  }

  std::size_t read(NodeIndex index, std::uint64_t offset, MutableBytes out) const override {
    const MountedNode& record = table().nodes.at(index);
    if (offset >= record.size) return 0;
    out = out.first(std::min<std::uint64_t>(out.size(), record.size - offset));
    const OpenFiles::File file = open_file(index);
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t n =
          ::pread(file->get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0)
        throw Error(ErrorKind::io,
                    fmt::format("byte {} cannot be read: {}", offset + done, std::strerror(errno)));
      if (n == 0)
        throw Error(ErrorKind::corrupt, fmt::format("it ends at byte {} of {}", offset + done, record.size));
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

 private:
  const MountedTable& table() const { return walk_.table; }

  OpenFiles::File open_file(NodeIndex index) const {
    if (auto file = files_.find(index)) return file;
    auto file = std::make_shared<const os::UniqueFd>(open_below(root_.get(), path(index), O_RDONLY));
    files_.keep(index, file);
    return file;
  }

  os::UniqueFd mount_with(const MountKind::Parameters& more) const {
    MountRequest request{disk_->path(), kind_.type, kind_.parameters, options_.mount_limit};
    request.parameters.insert(request.parameters.end(), more.begin(), more.end());
    const os::UniqueFd mount = mount_privately(request, options_.stop);
    return open_below(mount.get(), "/", O_RDONLY | O_DIRECTORY);
  }

  // What was free before recovery: whatever recovery needs must stay in the image.
  ExtentSet free_on_disk() const {
    if (!kind_.tells_free) return {};
    try {
      const os::UniqueFd root = mount_with(kind_.without_recovery);
      return free_space(root.get(), device_->size());
    } catch (const Error&) {
      return {};  // the mount that counts will tell
    }
  }

  void mount() {
    try {
      root_ = mount_with({});
    } catch (const Error& error) {
      if (kind_.without_recovery.empty() || error.kind() != ErrorKind::io) throw;
      try {
        root_ = mount_with(kind_.without_recovery);
      } catch (const Error&) {
        throw error;
      }
      facts_.journal = JournalState::skipped;
      early_.push_back({0, "",
                        fmt::format("its journal could not be recovered ({}): the files are as on the disk",
                                    error.message())});
    }
  }

  // A sample of what lies on the device is compared with the files: a filesystem over more devices, or one
  // that counts otherwise, tells places that are not the device's.
  void confirm_places() {
    constexpr std::size_t kSamples = 64, kLength = 4096;
    std::vector<std::pair<NodeIndex, FileExtent>> placed;
    for (NodeIndex i = 0; i < node_count(); ++i)
      for (const FileExtent& extent : extents(i))
        if (!extent.unwritten && extent.physical != kNoPlace) placed.emplace_back(i, extent);
    const std::size_t step = std::max<std::size_t>(1, placed.size() / kSamples);
    Bytes here(kLength), there(kLength);
    for (std::size_t i = 0; i < placed.size(); i += step) {
      os::throw_if_stopped(options_.stop);
      const auto& [index, extent] = placed[i];
      const std::size_t length = std::min<std::uint64_t>(kLength, extent.length);
      if (space_.recovered.intersects({extent.physical, length})) continue;
      here.resize(length);
      there.resize(length);
      try {
        device_->read_at(extent.physical, here);
        read(index, extent.logical, there);
      } catch (const Error&) {
        continue;  // a sector that cannot be read tells nothing about places
      }
      if (as_text(here) == as_text(there)) continue;
      places_hold_ = false;
      facts_.notes.push_back(
          fmt::format("{} does not lie where the kernel says: all contents are read through the mount, and "
                      "stored apart from "
                      "the image",
                      printable(path(index))));
      return;
    }
  }

  void leave_files_out_of_free_space() {
    if (space_.free.empty()) return;
    ExtentSet claimed;
    std::vector<Extent> all;
    for (const FileExtent& extent : table().extents)
      if (extent.physical != kNoPlace) all.push_back({extent.physical, extent.length});
    std::ranges::sort(all, {}, &Extent::offset);
    for (const Extent& extent : all) claimed.add(extent);
    space_.free = space_.free.minus(claimed);
  }

  const block::DevicePtr device_;
  const MountKind kind_;
  const MountedOptions options_;
  FilesystemFacts facts_;
  SpaceMap space_;
  std::vector<Finding> early_;
  bool places_hold_ = true;
  std::unique_ptr<PrivateDisk> disk_;  // outlives what is open on it
  os::UniqueFd root_;
  MountedWalk walk_;
  mutable OpenFiles files_;
};

}  // namespace

bool is_mountable(const ProbeResult& found) {
  return found.usage == "filesystem" && !found.type.starts_with("ext") && found.type != "jbd" &&
         found.type != "zfs_member";
}

std::unique_ptr<FileReader> open_mounted(block::DevicePtr device, const ProbeResult& found,
                                         const MountedOptions& options) {
  if (::geteuid() != 0)
    throw Error(ErrorKind::refused,
                fmt::format("{} is read through the kernel, which needs root", found.type));
  auto reader = std::make_unique<MountedReader>(std::move(device), found, options);
  reader->open();
  return reader;
}

}  // namespace respaldo::fs
