#include "serve/backup_tree.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/error.h"
#include "base/printable.h"
#include "base/units.h"
#include "view/zero_blob.h"

namespace respaldo::serve {

namespace {

constexpr std::uint64_t kFolderCache = 64 * kMiB;
constexpr std::uint16_t kVolumeDepth = 2;  // of /VG/LV
constexpr std::size_t kMostTold = 10000;
constexpr std::size_t kLongestPath = 4096;
constexpr std::string_view kIds = "ids", kTimes = "times", kHosts = "hosts", kLatest = "latest";

// Spreads every bit over all of them.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a ^ (b + 0x9e3779b97f4a7c15U + (a << 6) + (a >> 2));
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
  x = (x ^ x >> 27) * 0x94d049bb133111ebU;
  return x ^ x >> 31;
}

std::uint64_t mix(std::uint64_t a, std::string_view text) {
  std::uint64_t x = 0xcbf29ce484222325U;
  for (const char c : text) x = (x ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return mix(mix(a, x), text.size());
}

std::uint64_t not_reserved(std::uint64_t inode) { return inode < 16 ? inode + 16 : inode; }

// Of an entry of the folder `above`.
std::uint64_t inode_of(std::uint64_t seed, std::uint64_t above, const repo::Node& node) {
  const bool hard_link = node.links > 1 && node.inode != 0 && node.type != repo::NodeType::dir;
  return not_reserved(hard_link ? mix(mix(seed, node.device_id), node.inode) : mix(above, node.name));
}

std::uint64_t inode_of(const repo::SnapshotId& id) {
  std::uint64_t inode;
  std::memcpy(&inode, id.bytes.data(), sizeof inode);
  return not_reserved(inode);
}

timespec as_timespec(const repo::Timestamp& time) {
  return {.tv_sec = time.seconds, .tv_nsec = static_cast<long>(time.nanoseconds)};
}

Error stale() {
  return Error(ErrorKind::not_found, "nothing is known about this file any more").set_error_number(ESTALE);
}

timespec now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

}  // namespace

std::size_t BackupTree::Listing::size() const {
  return 2 + (folder_ ? folder_->nodes.size() + (folder_->joined ? 1 : 0) : named_.size());
}

BackupTree::Row BackupTree::Listing::at(std::size_t row) const {
  if (row == 0) return {".", self_, S_IFDIR};
  if (row == 1) return {"..", above_, S_IFDIR};
  row -= 2;
  if (!folder_) return {named_[row].name, named_[row].inode, named_[row].type};
  const repo::Node& node = row < folder_->nodes.size() ? folder_->nodes[row] : *folder_->joined;
  return {node.name, inode_of(seed_, self_, node), node.mode & S_IFMT};
}

BackupTree::BackupTree(BackupList& backups, std::uint64_t cache_bytes, Tell tell)
    : backups_(backups),
      tell_(std::move(tell)),
      since_(now()),
      folders_([this] { return backups_.repository(); }, kFolderCache),
      reader_([this] { return backups_.repository(); }, cache_bytes) {
  Entry root;
  root.kind = Kind::root;
  root.inode = kRoot;
  root.above = kRoot;
  entries_.emplace(kRoot, std::move(root));
}

BackupTree::Entry BackupTree::entry(Handle handle) const {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  if (found == entries_.end()) throw stale();
  return found->second;
}

std::size_t BackupTree::entries() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

BackupTree::Handle BackupTree::made_up(Handle above, Kind kind, const std::string& name,
                                       const BackupPtr& backup) {
  std::lock_guard lock(mutex_);
  // A name can come to mean another backup (times/...-1): then it is another entry.
  Handle& handle = made_up_[{above, name}];
  if (handle != 0) {
    const Entry& known = entries_.at(handle);
    if (!backup || (known.backup && known.backup->id == backup->id)) return handle;
  }
  handle = next_++;
  Entry entry;
  entry.kind = kind;
  entry.above = above;
  entry.name = name;
  entry.backup = backup;
  entry.inode = entry.seed = backup ? inode_of(backup->id) : not_reserved(mix(above, name));
  entries_.emplace(handle, std::move(entry));
  return handle;
}

// Null for folders that hold no backups.
const BackupNames::Folder* BackupTree::dated(const BackupNames& names, const Entry& entry) const {
  if (entry.kind == Kind::ids) return &names.ids;
  if (entry.kind == Kind::times) return &names.times;
  if (entry.kind != Kind::host) return nullptr;
  const auto host = names.hosts.find(entry.name);
  return host == names.hosts.end() ? nullptr : &host->second;
}

std::optional<BackupTree::Found> BackupTree::look_up_made_up(Handle folder, const Entry& above,
                                                             std::string_view name) {
  backups_.refresh();
  const auto names = backups_.names();
  Handle handle = 0;
  if (above.kind == Kind::root) {
    if (name == kIds) handle = made_up(folder, Kind::ids, std::string(name));
    if (name == kTimes) handle = made_up(folder, Kind::times, std::string(name));
    if (name == kHosts) handle = made_up(folder, Kind::hosts, std::string(name));
    if (name == kLatest && !names->latest.empty()) handle = made_up(folder, Kind::latest, std::string(name));
  } else if (above.kind == Kind::hosts) {
    if (names->hosts.contains(name)) handle = made_up(folder, Kind::host, std::string(name));
  } else if (const auto* backups = dated(*names, above)) {
    const auto found = backups->find(name);
    if (found != backups->end())
      handle = made_up(folder, Kind::backup, std::string(name), found->second);
    else if (name == kLatest && above.kind == Kind::host)
      handle = made_up(folder, Kind::latest, std::string(name));
  }
  if (handle == 0) return std::nullopt;
  return Found{handle, status_of(entry(handle)), false};
}

void BackupTree::tell_once(const std::string& text) {
  {
    std::lock_guard lock(mutex_);
    if (told_.size() >= kMostTold || !told_.insert(text).second) return;
  }
  tell_(text);
}

// Of a backup or a stored folder.
FolderCache::FolderPtr BackupTree::contents(Handle handle, const Entry& entry) {
  static const auto nothing = std::make_shared<const StoredFolder>();
  const auto load = [&](const repo::BlobId& tree) {
    try {
      auto folder = folders_.get(tree, entry.depth == kVolumeDepth);
      if (folder->hidden > 0)
        tell_once(fmt::format("warning: {}: {} entries are hidden: no file can have their names",
                              printable(path(handle)), folder->hidden));
      if (!folder->problem.empty())
        tell_once(fmt::format("warning: {}: there is no image.raw in one piece: {}", printable(path(handle)),
                              folder->problem));
      return folder;
    } catch (const Error& error) {
      tell_once(fmt::format("{}: {}", printable(path(handle)), error.what()));
      throw;
    }
  };
  if (entry.kind == Kind::backup) return load(entry.backup->snapshot.tree);
  const auto around = folders_.get(entry.tree, entry.in_volume);
  const repo::Node& node = around->at(entry.number);
  if (node.type != repo::NodeType::dir)
    throw Error(ErrorKind::usage, "not a folder").set_error_number(ENOTDIR);
  return node.subtree ? load(*node.subtree) : nothing;
}

std::optional<BackupTree::Found> BackupTree::look_up(Handle folder, std::string_view name) {
  const Entry above = entry(folder);
  if (above.kind != Kind::backup && above.kind != Kind::stored) return look_up_made_up(folder, above, name);
  const auto holder = contents(folder, above);
  const auto number = holder->find(name);
  if (!number) return std::nullopt;
  const repo::Node& node = holder->at(*number);
  Entry fresh;
  fresh.in_volume = above.depth == kVolumeDepth;
  fresh.depth = static_cast<std::uint16_t>(std::min<unsigned>(above.depth + 1U, UINT16_MAX));
  fresh.number = *number;
  fresh.seed = above.seed;
  fresh.inode = inode_of(above.seed, above.inode, node);
  fresh.above = folder;
  if (above.kind == Kind::backup) {
    fresh.tree = above.backup->snapshot.tree;
  } else {
    fresh.tree = *folders_.get(above.tree, above.in_volume)->at(above.number).subtree;
  }
  Found found{0, status_of(fresh, node), true};
  std::lock_guard lock(mutex_);
  Handle& handle = places_[{folder, *number}];
  if (handle == 0) {
    handle = next_++;
    entries_.emplace(handle, std::move(fresh));
  }
  ++entries_.at(handle).references;
  found.handle = handle;
  return found;
}

void BackupTree::forget(Handle handle, std::uint64_t references) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  if (found == entries_.end() || found->second.kind != Kind::stored) return;
  Entry& entry = found->second;
  entry.references -= std::min(entry.references, references);
  if (entry.references > 0) return;
  places_.erase({entry.above, entry.number});
  open_.erase(handle);
  entries_.erase(found);
}

std::string BackupTree::path(Handle handle) const {
  std::vector<std::string> names;
  std::size_t length = 0;
  while (handle != kRoot && length < kLongestPath) {
    Entry at;
    try {
      at = entry(handle);
      names.push_back(at.kind == Kind::stored ? folders_.get(at.tree, at.in_volume)->at(at.number).name
                                              : at.name);
    } catch (const Error&) {
      names.emplace_back("...");
      break;
    }
    length += names.back().size() + 1;
    handle = at.above;
  }
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) path += (path.empty() ? "" : "/") + *name;
  return path;
}

std::uint64_t BackupTree::links_of(const Entry& entry, const repo::Node& node) {
  // FUSE has 32 bits for it; none at all would be a deleted file.
  if (node.type != repo::NodeType::dir) return std::clamp<std::uint64_t>(node.links, 1, INT32_MAX);
  if (node.links > 0) return std::min<std::uint64_t>(node.links, INT32_MAX);
  // restic does not store it: as most filesystems count.
  if (!node.subtree) return 2;
  try {
    return 2 + folders_.get(*node.subtree, entry.depth == kVolumeDepth)->folders;
  } catch (const Error&) {
    return 2;  // told by whoever looks inside
  }
}

struct stat BackupTree::status_of(const Entry& entry, const repo::Node& node) {
  struct stat st {};
  st.st_ino = entry.inode;
  st.st_mode = node.mode;
  st.st_uid = node.uid;
  st.st_gid = node.gid;
  st.st_nlink = links_of(entry, node);
  st.st_atim = as_timespec(node.atime);
  st.st_mtim = as_timespec(node.mtime);
  st.st_ctim = as_timespec(node.ctime);
  st.st_blksize = 64 * kKiB;
  std::uint64_t size = node.size, stored = 0;
  if (node.type == repo::NodeType::symlink) size = node.link_target.size();
  if (node.type == repo::NodeType::dev || node.type == repo::NodeType::chardev) st.st_rdev = node.device;
  if (node.type == repo::NodeType::file) {
    size = std::min<std::uint64_t>(size, INT64_MAX);
    // As of a file whose zeros are holes.
    const auto count = [&](const repo::BlobId& id) {
      return static_cast<std::uint64_t>(std::ranges::count(node.content, id));
    };
    stored = size - std::min(size, count(view::zero_blob_id()) * view::kZeroBlobLength +
                                       count(view::long_zero_blob_id()) * view::kLongZeroBlobLength);
  }
  st.st_size = static_cast<off_t>(size);
  st.st_blocks = static_cast<blkcnt_t>((stored + 511) / 512);
  return st;
}

struct stat BackupTree::status_of(const Entry& entry) {
  if (entry.kind == Kind::stored) {
    const auto folder = folders_.get(entry.tree, entry.in_volume);
    return status_of(entry, folder->at(entry.number));
  }
  struct stat st {};
  st.st_ino = entry.inode;
  st.st_uid = ::getuid();
  st.st_gid = ::getgid();
  st.st_mode = S_IFDIR | 0555;
  st.st_nlink = 2;
  st.st_blksize = 64 * kKiB;
  st.st_atim = st.st_mtim = st.st_ctim = since_;
  const auto names = backups_.names();
  if (entry.kind == Kind::root) st.st_nlink = 5;
  if (entry.kind == Kind::hosts) st.st_nlink = 2 + names->hosts.size();
  if (const auto* backups = dated(*names, entry)) st.st_nlink = 2 + backups->size();
  if (entry.kind == Kind::latest) {
    st.st_mode = S_IFLNK | 0777;
    st.st_nlink = 1;
    st.st_size = static_cast<off_t>(latest_target(entry).size());
  }
  if (entry.kind == Kind::backup) {
    st.st_atim = st.st_mtim = st.st_ctim = as_timespec(entry.backup->snapshot.time);
    try {
      st.st_nlink = 2 + folders_.get(entry.backup->snapshot.tree, false)->folders;
    } catch (const Error&) {  // told by whoever looks inside
    }
  }
  return st;
}

struct stat BackupTree::status(Handle handle, bool* lasting) {
  const Entry self = entry(handle);
  if (lasting != nullptr) *lasting = self.kind == Kind::stored;
  return status_of(self);
}

BackupTree::Listing BackupTree::list(Handle handle) {
  const Entry self = entry(handle);
  Listing listing;
  listing.self_ = self.inode;
  listing.above_ = kRoot;
  try {
    listing.above_ = entry(self.above).inode;
  } catch (const Error&) {
  }
  listing.seed_ = self.seed;
  if (self.kind == Kind::backup || self.kind == Kind::stored) {
    listing.folder_ = contents(handle, self);
    return listing;
  }
  if (self.kind == Kind::latest) throw Error(ErrorKind::usage, "not a folder").set_error_number(ENOTDIR);
  backups_.refresh();
  const auto names = backups_.names();
  const auto add = [&](std::string_view name, mode_t type) {
    listing.named_.push_back({std::string(name), not_reserved(mix(handle, name)), type});
  };
  if (self.kind == Kind::root)
    for (const std::string_view name : {kHosts, kIds, kTimes}) add(name, S_IFDIR);
  if (self.kind == Kind::hosts)
    for (const auto& [name, folder] : names->hosts) add(name, S_IFDIR);
  const auto* backups = dated(*names, self);
  if (backups != nullptr)
    for (const auto& [name, backup] : *backups)
      listing.named_.push_back({name, inode_of(backup->id), S_IFDIR});
  if ((self.kind == Kind::root && !names->latest.empty()) || (self.kind == Kind::host && backups != nullptr))
    add(kLatest, S_IFLNK);
  return listing;
}

std::string BackupTree::latest_target(const Entry& self) const {
  const auto names = backups_.names();
  const Entry above = entry(self.above);
  if (above.kind == Kind::root && !names->latest.empty()) return "times/" + names->latest;
  const auto of_host = names->latest_of.find(above.name);
  if (above.kind == Kind::host && of_host != names->latest_of.end()) return of_host->second;
  throw Error(ErrorKind::not_found, "there is no backup").set_error_number(ENOENT);
}

std::string BackupTree::link_target(Handle handle) {
  const Entry self = entry(handle);
  if (self.kind == Kind::latest) {
    backups_.refresh();
    return latest_target(self);
  }
  if (self.kind == Kind::stored) {
    const auto folder = folders_.get(self.tree, self.in_volume);
    const repo::Node& node = folder->at(self.number);
    if (node.type == repo::NodeType::symlink) return node.link_target;
  }
  throw Error(ErrorKind::usage, "not a symbolic link").set_error_number(EINVAL);
}

std::vector<repo::ExtendedAttribute> BackupTree::attributes(Handle handle) {
  const Entry self = entry(handle);
  if (self.kind != Kind::stored) return {};
  const auto folder = folders_.get(self.tree, self.in_volume);
  return folder->at(self.number).xattrs;
}

std::shared_ptr<StoredFile> BackupTree::open(Handle handle) {
  const Entry self = entry(handle);
  if (self.kind != Kind::stored) throw Error(ErrorKind::usage, "a folder").set_error_number(EISDIR);
  {
    std::lock_guard lock(mutex_);
    if (const auto found = open_.find(handle); found != open_.end())
      if (auto file = found->second.lock()) return file;
  }
  const auto folder = folders_.get(self.tree, self.in_volume);
  const repo::Node& node = folder->at(self.number);
  if (node.type != repo::NodeType::file) throw Error(ErrorKind::usage, "not a file").set_error_number(EINVAL);
  const std::string name = path(handle);
  std::shared_ptr<StoredFile> file;
  try {
    file = std::make_shared<StoredFile>(backups_.repository()->index(), node, name);
  } catch (const Error& error) {
    tell_once(fmt::format("{}: {}", printable(name), error.what()));
    throw;
  }
  if (file->content_size() != file->size())
    tell_once(fmt::format("{}: its blobs add up to {} bytes, but its size is {}", printable(name),
                          file->content_size(), file->size()));
  std::lock_guard lock(mutex_);
  if (entries_.contains(handle)) open_[handle] = file;
  return file;
}

void BackupTree::read(const std::shared_ptr<StoredFile>& file, std::uint64_t offset, MutableBytes out) {
  try {
    reader_.read(file, offset, out);
  } catch (const Error& error) {
    tell_once(error.what());
    throw;
  }
}

}  // namespace respaldo::serve
