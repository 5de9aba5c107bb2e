#include "fs/mounted/mounted_walk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "fs/mounted/file_places.h"
#include "fs/mounted/mounted_folder.h"
#include "os/thread_group.h"

namespace respaldo::fs {

namespace {

using Stat = struct ::statx;

std::uint64_t device_of(const Stat& st) { return ::makedev(st.stx_dev_major, st.stx_dev_minor); }

// Numbers for inodes that have none of their own: of the path, above those of any filesystem.
std::uint64_t inode_of(std::string_view path) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : path) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  return std::uint64_t{0x7e5c} << 48 | hash >> 16;
}

class Walk {
 public:
  Walk(int root, const WalkOptions& options) : root_(root), options_(options) {}

  MountedWalk run() {
    const Stat st = stat_entry(root_, "", "/");
    devices_[0] = device_of(st);
    add_node(st, "/", 0);
    for (NodeIndex i = 0; i < folders_.size(); ++i) {
      os::throw_if_stopped(options_.stop);
      walk_folder(folders_[i]);
    }
    if (snapshots_ > 0)
      result_.notes.push_back(
          fmt::format("{} read-only snapshot{} of btrfs {} in the image only: the first is {}", snapshots_,
                      snapshots_ == 1 ? "" : "s", snapshots_ == 1 ? "is" : "are", first_snapshot_));
    return std::move(result_);
  }

 private:
  MountedTable& table() { return result_.table; }

  void tell(std::uint64_t inode, const std::string& path, std::string what) {
    if (++result_.finding_count <= options_.finding_limit)
      result_.findings.push_back({inode, path, std::move(what)});
  }

  NodeIndex add_node(const Stat& st, std::string_view path, std::uint32_t subvolume) {
    if (table().nodes.size() >= kNoNode - 1)
      throw Error(ErrorKind::unsupported, "the filesystem has more files than can be counted");
    MountedNode node;
    node.inode = options_.kind.steady_inodes ? st.stx_ino : inode_of(path);
    node.subvolume = subvolume;
    node.mode = st.stx_mode;
    node.uid = st.stx_uid;
    node.gid = st.stx_gid;
    node.links = st.stx_nlink;
    node.size = st.stx_size;
    node.atime = st.stx_atime.tv_sec;
    node.atime_ns = st.stx_atime.tv_nsec;
    node.mtime = st.stx_mtime.tv_sec;
    node.mtime_ns = st.stx_mtime.tv_nsec;
    node.ctime = st.stx_ctime.tv_sec;
    node.ctime_ns = st.stx_ctime.tv_nsec;
    if (S_ISCHR(node.mode) || S_ISBLK(node.mode))
      node.device = ::makedev(st.stx_rdev_major, st.stx_rdev_minor);
    const auto index = static_cast<NodeIndex>(table().nodes.size());
    table().nodes.push_back(node);
    if (S_ISDIR(node.mode)) folders_.push_back(index);
    return index;
  }

  void walk_folder(NodeIndex index) {
    const std::string path = table().path(index);
    const std::uint64_t inode = table().nodes[index].inode;
    try {
      const os::UniqueFd fd = open_below(root_, path, O_RDONLY | O_DIRECTORY);
      if (!may_enter(index, fd.get(), path)) return;
      try {
        table().nodes[index].xattrs = table().intern(read_xattrs(fd.get(), path));
      } catch (const Error& error) {
        tell(inode, path, fmt::format("its extended attributes: {}", error.message()));
      }
      auto listed = list_folder(fd.get(), most_entries(), path);
      // In the order of the disk, as far as inode numbers are.
      std::ranges::sort(listed, {}, &FolderEntry::inode);
      std::vector<std::pair<std::string, NodeIndex>> found;
      for (FolderEntry& entry : listed) {
        if (found.size() % 1024 == 0) os::throw_if_stopped(options_.stop);
        const NodeIndex node = look_at(index, fd.get(), entry.name, path);
        if (node != kNoNode) found.emplace_back(std::move(entry.name), node);
      }
      add_entries(index, found, path);
    } catch (const Error& error) {
      if (index == 0) throw;
      tell(inode, path, fmt::format("its entries: {}", error.message()));
    }
  }

  // A name takes some bytes of the disk, compressed or not.
  std::size_t most_entries() const {
    return std::max<std::size_t>(1U << 20, std::min<std::uint64_t>(options_.device_size, kNoNode));
  }

  // A folder that was seen before leads in circles: only a damaged filesystem has that.
  bool may_enter(NodeIndex index, int fd, const std::string& path) {
    const Stat st = stat_entry(fd, "", path);
    MountedNode& node = table().nodes[index];
    if (!seen_folders_.emplace(device_of(st), st.stx_ino).second) {
      tell(node.inode, path, "the folder has a second place in the tree, and is not entered there");
      return false;
    }
    if (device_of(st) == devices_.at(node.subvolume)) return true;
    if (!options_.kind.has_subvolumes) {
      tell(node.inode, path, "another filesystem lies there, and is not entered");
      return false;
    }
    return enter_subvolume(node, st, fd, path);
  }

  bool enter_subvolume(MountedNode& node, const Stat& st, int fd, const std::string& path) {
    btrfs_ioctl_get_subvol_info_args info{};
    if (::ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, &info) < 0) {  // it gives 1, too
      tell(node.inode, path,
           fmt::format("the subvolume's number cannot be told ({}), and it is not entered",
                       std::strerror(errno)));
      return false;
    }
    constexpr std::uint64_t kReadOnly = 1;  // BTRFS_ROOT_SUBVOL_RDONLY
    const bool is_snapshot =
        std::ranges::any_of(info.parent_uuid, [](std::uint8_t byte) { return byte != 0; });
    if (is_snapshot && (info.flags & kReadOnly) != 0) {
      if (snapshots_++ == 0) first_snapshot_ = path;
      return false;
    }
    // Subvolumes are numbered from 256.
    node.subvolume = static_cast<std::uint32_t>(info.treeid ^ info.treeid >> 32);
    if (!devices_.emplace(node.subvolume, device_of(st)).second) {
      tell(node.inode, path, "the subvolume's number is another's, too, and it is not entered");
      return false;
    }
    return true;
  }

  // The node of an entry, or kNoNode after telling why there is none.
  NodeIndex look_at(NodeIndex folder, int fd, const std::string& name, const std::string& folder_path) {
    const std::string path = (folder_path == "/" ? "" : folder_path) + "/" + name;
    const std::uint32_t subvolume = table().nodes[folder].subvolume;
    if (name.empty() || name.find('/') != name.npos || name.size() > UINT16_MAX) {
      tell(table().nodes[folder].inode, folder_path, "a name in it cannot be one");
      return kNoNode;
    }
    try {
      const Stat st = stat_entry(fd, name, path);
      const bool shared = st.stx_nlink > 1 && !S_ISDIR(st.stx_mode) && options_.kind.steady_inodes;
      const std::pair key{subvolume, st.stx_ino};
      if (shared)
        if (const auto at = linked_.find(key); at != linked_.end()) return at->second;
      const NodeIndex index = add_node(st, path, subvolume);
      if (shared) linked_.emplace(key, index);
      fill(index, fd, name, path);
      return index;
    } catch (const Error& error) {
      tell(0, path, error.message());
      return kNoNode;
    }
  }

  // What statx does not tell.
  void fill(NodeIndex index, int folder, const std::string& name, const std::string& path) {
    const std::uint32_t mode = table().nodes[index].mode;
    if (S_ISDIR(mode)) return;  // when it is entered
    if (S_ISREG(mode)) {
      fill_file(index, folder, name, path);
      return;
    }
    if (S_ISLNK(mode)) {
      const std::string target = read_link(folder, name, path);
      table().nodes[index].target = table().bytes.size();
      table().nodes[index].target_length = static_cast<std::uint32_t>(target.size());
      table().bytes += target;
    }
    try {
      table().nodes[index].xattrs = table().intern(read_xattrs(folder, name, path));
    } catch (const Error& error) {
      tell(table().nodes[index].inode, path, fmt::format("its extended attributes: {}", error.message()));
    }
  }

  void fill_file(NodeIndex index, int folder, const std::string& name, const std::string& path) {
    MountedNode& node = table().nodes[index];
    os::UniqueFd fd;
    try {
      fd = open_below(folder, name, O_RDONLY);
    } catch (const Error& error) {
      node.readable = false;
      tell(node.inode, path, fmt::format("its content: {}", error.message()));
      return;
    }
    try {
      node.xattrs = table().intern(read_xattrs(fd.get(), path));
    } catch (const Error& error) {
      tell(node.inode, path, fmt::format("its extended attributes: {}", error.message()));
    }
    const auto places =
        file_places(fd.get(), node.size, options_.kind.places, options_.block_size, options_.device_size);
    node.first_extent = table().extents.size();
    node.extent_count = static_cast<std::uint32_t>(places.size());
    table().extents.insert(table().extents.end(), places.begin(), places.end());
  }

  void add_entries(NodeIndex folder, std::vector<std::pair<std::string, NodeIndex>>& found,
                   const std::string& path) {
    std::ranges::sort(found);
    MountedNode& node = table().nodes[folder];
    node.first_entry = static_cast<std::uint32_t>(table().entries.size());
    const std::string* last = nullptr;
    for (const auto& [name, index] : found) {
      if (last != nullptr && *last == name) {
        tell(node.inode, path, fmt::format("it has the name {} twice", name));
        continue;
      }
      last = &name;
      MountedEntry entry;
      entry.directory = folder;
      entry.node = index;
      entry.name = table().bytes.size();
      entry.name_length = static_cast<std::uint16_t>(name.size());
      table().bytes += name;
      if (table().nodes[index].name == kNoNode)
        table().nodes[index].name = static_cast<std::uint32_t>(table().entries.size());
      table().entries.push_back(entry);
      ++node.entry_count;
    }
  }

  const int root_;
  const WalkOptions& options_;
  MountedWalk result_;
  std::vector<NodeIndex> folders_;                  // in the order in which they are entered
  std::map<std::uint32_t, std::uint64_t> devices_;  // st_dev of each subvolume
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen_folders_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, NodeIndex> linked_;
  std::uint64_t snapshots_ = 0;
  std::string first_snapshot_;
};

}  // namespace

MountedWalk walk_mounted(int root, const WalkOptions& options) { return Walk(root, options).run(); }

}  // namespace respaldo::fs
